//! The template `sidecar`: capture, and a proxy beside the application.

use serde_json::{Map, Value, json};

use super::{
    capture, metadata,
    proxy::{self, Kind},
    settings::Settings,
    volumes,
};

/// What the template adds to the pod.
pub(super) fn overlay(pod: &Value, settings: &Settings<'_>) -> Value {
    let mounted = [
        volumes::workload_socket(),
        volumes::credential_socket(),
        volumes::workload_certs(),
        volumes::root_certificate(),
        volumes::revocations(),
        volumes::data(),
        volumes::scratch("istio-envoy"),
        volumes::token(),
        volumes::pod_info(),
    ];
    let mut declared = volumes::declarations(&mounted, &VOLUME_ORDER);
    let mut mounts = volumes::mounts(&mounted);
    if let Some((volume, mount)) = volumes::mtls_certs(pod, settings.options) {
        declared.push(volume);
        mounts.insert(mounts.len() - 1, mount);
    }
    let (user_volumes, user_mounts) = volumes::from_annotations(settings);
    declared.extend(user_volumes);
    mounts.extend(user_mounts);

    let mut init: Vec<Value> = capture::container(pod, settings).into_iter().collect();
    let mut proxy = container(pod, settings);
    proxy["volumeMounts"] = json!(mounts);
    let mut spec = json!({ "volumes": declared });
    if settings.native {
        init.push(proxy);
    } else {
        spec["containers"] = json!([proxy]);
    }
    if !init.is_empty() {
        spec["initContainers"] = json!(init);
    }
    image_pull_secrets(pod, settings, &mut spec);
    json!({ "metadata": metadata(pod, settings), "spec": spec })
}

const VOLUME_ORDER: [&str; 9] = [
    "workload-socket",
    "credential-socket",
    "workload-certs",
    "istio-envoy",
    "istio-data",
    "istio-podinfo",
    "istio-token",
    "istiod-ca-cert",
    "istio-ca-crl",
];

fn metadata(pod: &Value, settings: &Settings<'_>) -> Value {
    let mut labels = metadata::canonical_labels(pod, settings);
    let mode = pod["metadata"]["labels"]["security.istio.io/tlsMode"].as_str().unwrap_or("istio");
    labels.insert("security.istio.io/tlsMode".into(), json!(mode));
    let mut annotations: Map<String, Value> = metadata::annotations(pod, settings);
    for (name, text) in capture::cni_annotations(pod, settings) {
        annotations.insert(name, json!(text));
    }
    json!({ "labels": labels, "annotations": annotations })
}

fn container(pod: &Value, settings: &Settings<'_>) -> Value {
    let mut container = proxy::container(settings, Kind::Sidecar);
    container["env"] = json!(proxy::environment(pod, settings, Kind::Sidecar));
    container["resources"] = proxy::resources(settings);
    container["securityContext"] = security_context(settings);
    for (name, probe) in proxy::probes(settings) {
        container[name] = probe;
    }
    if let Some(lifecycle) = lifecycle(settings) {
        container["lifecycle"] = lifecycle;
    }
    if settings.native {
        container["restartPolicy"] = json!("Always");
    }
    container
}

/// The installation's own hooks, else: begin to drain before the stop (a native sidecar is stopped last), or hold the
/// application until the proxy is ready.
fn lifecycle(settings: &Settings<'_>) -> Option<Value> {
    let options = settings.options;
    if let Some(lifecycle) = &options.proxy.lifecycle {
        return Some(lifecycle.clone());
    }
    let program = &options.program;
    let fill = |words: &[String]| -> Vec<String> {
        words.iter().map(|word| word.replace("{status_port}", &settings.status_port.to_string())).collect()
    };
    if settings.native {
        return (!program.drain.is_empty())
            .then(|| json!({ "preStop": { "exec": { "command": fill(&program.drain) } } }));
    }
    settings.hold_application().then(|| json!({ "postStart": { "exec": { "command": fill(&program.wait) } } }))
}

/// TPROXY keeps the client's address on the connection to the application, which takes root and NET_ADMIN; marking
/// sockets takes NET_ADMIN. Where sockets are marked there is no second user id, so none is asked for.
fn security_context(settings: &Settings<'_>) -> Value {
    let privileged = settings.options.proxy.privileged;
    let transparent = settings.interception == "TPROXY";
    let by_mark = settings.options.capture.by_mark;
    let mut context = json!({
        "allowPrivilegeEscalation": privileged,
        "capabilities": { "drop": ["ALL"] },
        "privileged": privileged,
        "readOnlyRootFilesystem": true,
    });
    if transparent || by_mark {
        context["capabilities"]["add"] = json!(["NET_ADMIN"]);
    }
    if !by_mark {
        context["runAsGroup"] = json!(settings.gid);
        context["runAsNonRoot"] = json!(!transparent);
        context["runAsUser"] = json!(if transparent { 0 } else { settings.uid });
    }
    context
}

/// A transparent proxy stays root even where the pod asks for another user: that user is for the application's side
/// of the rules.
pub(super) fn keep_root(pod: &mut Value, settings: &Settings<'_>) {
    if settings.interception != "TPROXY" {
        return;
    }
    for list in ["containers", "initContainers"] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        for proxy in containers.iter_mut().filter(|container| container["name"] == super::PROXY_CONTAINER) {
            proxy["securityContext"]["runAsUser"] = json!(0);
            proxy["securityContext"]["runAsNonRoot"] = json!(false);
        }
    }
}

/// The installation's secrets, for a pod that names none itself.
fn image_pull_secrets(pod: &Value, settings: &Settings<'_>, spec: &mut Value) {
    let secrets = &settings.options.image_pull_secrets;
    let own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|own| !own.is_empty());
    if !own && !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({ "name": name })).collect();
    }
}
