//! The init container that sets up capture, or checks it where a CNI plugin does.

use serde_json::{Value, json};

use super::{
    INIT_CONTAINER, VALIDATION_CONTAINER,
    annotations::traffic,
    environment,
    options::{Cni, InjectOptions},
    proxy,
    settings::Settings,
};

/// The init container, unless the pod's interception mode is NONE.
pub(super) fn container(pod: &Value, settings: &Settings<'_>) -> Option<Value> {
    if settings.interception == "NONE" {
        return None;
    }
    let options = settings.options;
    let checks_only = options.cni.is_some();
    let mut container = json!({
        "name": if checks_only { VALIDATION_CONTAINER } else { INIT_CONTAINER },
        "image": options.capture.image,
        "args": arguments(pod, settings),
        "resources": proxy::resources(settings),
        "securityContext": security_context(settings),
    });
    if !options.proxy.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(options.proxy.image_pull_policy);
    }
    let metadata = environment::proxy_metadata(settings);
    if !metadata.is_empty() {
        container["env"] = json!(metadata);
    }
    Some(container)
}

fn arguments(pod: &Value, settings: &Settings<'_>) -> Vec<String> {
    let capture = &settings.options.capture;
    let mut words = settings.options.program.capture.clone();
    let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    flag("-p", "15001");
    flag("-z", "15006");
    flag("-u", &settings.uid.to_string());
    flag("-m", &settings.interception);
    flag("-i", traffic(pod, "includeOutboundIPRanges", &capture.include_ip_ranges));
    flag("-x", traffic(pod, "excludeOutboundIPRanges", &capture.exclude_ip_ranges));
    flag("-b", traffic(pod, "includeInboundPorts", &capture.include_inbound_ports));
    let excluded = excluded_inbound(pod, settings);
    flag("-d", [PROXY_PORTS, excluded.as_str()].join(",").trim_end_matches(','));
    for (name, text) in [
        ("-q", traffic(pod, "includeOutboundPorts", &capture.include_outbound_ports)),
        ("-o", traffic(pod, "excludeOutboundPorts", &capture.exclude_outbound_ports)),
        ("-k", rerouted_interfaces(settings)),
        ("-c", traffic(pod, "excludeInterfaces", "")),
    ] {
        if !text.is_empty() {
            flag(name, text);
        }
    }
    words.push(format!("--log_output_level={}", proxy::agent_log_level(settings)));
    if settings.options.proxy.log_as_json {
        words.push("--log_as_json".into());
    }
    if capture.native_nftables {
        words.push("--native-nftables".into());
    }
    if capture.by_mark {
        words.extend(["--proxy-mark".into(), PROXY_MARK.into()]);
    }
    if settings.options.cni.is_some() {
        words.extend(["--run-validation".into(), "--skip-rule-apply".into()]);
    }
    words
}

/// The socket mark of the proxy's own connections.
pub(super) const PROXY_MARK: &str = "1337";

/// Ports of the proxy that are reached from outside the mesh.
const PROXY_PORTS: &str = "15090,15021";

fn rerouted_interfaces<'a>(settings: &'a Settings<'_>) -> &'a str {
    settings
        .annotation("istio.io/reroute-virtual-interfaces")
        .or_else(|| settings.annotation("traffic.sidecar.istio.io/kubevirtInterfaces"))
        .unwrap_or_default()
}

/// The user's excluded inbound ports, and the agent's.
fn excluded_inbound(pod: &Value, settings: &Settings<'_>) -> String {
    let user = traffic(pod, "excludeInboundPorts", &settings.options.capture.exclude_inbound_ports);
    let status = settings.status_port.to_string();
    if settings.status_port == 0 || user.split(',').any(|port| port.trim() == status) {
        return user.to_owned();
    }
    [user, status.as_str()].join(",").trim_start_matches(',').to_owned()
}

fn security_context(settings: &Settings<'_>) -> Value {
    let privileged = settings.options.proxy.privileged;
    if settings.options.cni.is_some() {
        return json!({
            "allowPrivilegeEscalation": privileged,
            "privileged": privileged,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsGroup": settings.gid,
            "runAsUser": settings.uid,
            "runAsNonRoot": true,
        });
    }
    json!({
        "allowPrivilegeEscalation": privileged,
        "privileged": privileged,
        "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
        "readOnlyRootFilesystem": false,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "runAsUser": 0,
    })
}

/// The annotations by which a CNI plugin learns what to capture.
pub(super) fn cni_annotations(pod: &Value, settings: &Settings<'_>) -> Vec<(String, String)> {
    let options: &InjectOptions = settings.options;
    let Some(cni) = options.cni else {
        return Vec::new();
    };
    let capture = &options.capture;
    let mut notes = vec![("sidecar.istio.io/interceptionMode".to_owned(), settings.interception.clone())];
    for (name, text) in [
        ("includeOutboundIPRanges", traffic(pod, "includeOutboundIPRanges", &capture.include_ip_ranges)),
        ("excludeOutboundIPRanges", traffic(pod, "excludeOutboundIPRanges", &capture.exclude_ip_ranges)),
        ("includeInboundPorts", traffic(pod, "includeInboundPorts", &capture.include_inbound_ports)),
        ("excludeInboundPorts", excluded_inbound(pod, settings).as_str()),
        ("includeOutboundPorts", traffic(pod, "includeOutboundPorts", &capture.include_outbound_ports)),
        ("excludeOutboundPorts", traffic(pod, "excludeOutboundPorts", &capture.exclude_outbound_ports)),
        ("excludeInterfaces", traffic(pod, "excludeInterfaces", "")),
    ] {
        if !text.is_empty() {
            notes.push((format!("traffic.sidecar.istio.io/{name}"), text.to_owned()));
        }
    }
    if cni == Cni::Multus {
        notes.push((NETWORKS.into(), networks(settings.annotation(NETWORKS))));
    }
    notes
}

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// The pod's own networks, in either of multus' two notations, and ours.
fn networks(present: Option<&str>) -> String {
    match present.map(str::trim).filter(|text| !text.is_empty()) {
        None => "default/istio-cni".into(),
        Some(list) if list.starts_with('[') => {
            let inner = list.trim_end_matches(']');
            format!(r#"{inner}, {{"name": "istio-cni", "namespace": "default"}}]"#)
        }
        Some(names) => format!("{names}, default/istio-cni"),
    }
}
