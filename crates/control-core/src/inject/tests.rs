use serde_json::{Value, json};

use super::*;

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "backend-5d8f7-",
            "labels": { "app": "backend", "pod-template-hash": "5d8f7" },
            "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "backend-5d8f7", "controller": true },
            ],
        },
        "spec": { "containers": [{
            "name": "backend",
            "image": "hashicorp/http-echo",
            "ports": [{ "name": "web", "containerPort": 5678 }],
            "readinessProbe": { "httpGet": { "path": "/", "port": "web" } },
        }] },
    })
}

fn injected(pod: &Value, options: &InjectOptions) -> Value {
    let request = Request { pod, namespace: "default", namespace_annotations: None, workload: None };
    inject(&request, options).unwrap()
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    containers(pod, list).map(|container| container["name"].as_str().unwrap().to_owned()).collect()
}

fn env<'a>(container: &'a Value, name: &str) -> &'a str {
    let variables = container["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap()
}

#[test]
fn a_native_sidecar_starts_after_capture_and_before_the_application() {
    let pod = injected(&pod(), &InjectOptions::default());
    assert_eq!(names(&pod, "initContainers"), ["istio-init", "istio-proxy"]);
    assert_eq!(names(&pod, "containers"), ["backend"]);
    assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
}

#[test]
fn a_sidecar_beside_the_application_comes_last_unless_the_application_waits_for_it() {
    let options = InjectOptions { native_sidecars: false, ..InjectOptions::default() };
    assert_eq!(names(&injected(&pod(), &options), "containers"), ["backend", "istio-proxy"]);

    let mut held = pod();
    held["metadata"]["annotations"] = json!({ "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true" });
    let held = injected(&held, &options);
    assert_eq!(names(&held, "containers"), ["istio-proxy", "backend"]);
    assert!(held["spec"]["containers"][0]["lifecycle"]["postStart"].is_object());
}

#[test]
fn the_proxy_knows_its_workload_and_the_probes_that_it_answers_for() {
    let pod = injected(&pod(), &InjectOptions::default());
    let proxy = &pod["spec"]["initContainers"][1];
    assert_eq!(env(proxy, "ISTIO_META_WORKLOAD_NAME"), "backend");
    assert_eq!(env(proxy, "ISTIO_META_OWNER"), "kubernetes://apis/apps/v1/namespaces/default/deployments/backend");
    assert_eq!(
        pod["spec"]["containers"][0]["readinessProbe"]["httpGet"],
        json!({ "path": "/app-health/backend/readyz", "port": 15020 })
    );
    assert_eq!(
        env(proxy, "ISTIO_KUBE_APP_PROBERS"),
        r#"{"/app-health/backend/readyz":{"httpGet":{"path":"/","port":5678}}}"#
    );
}

#[test]
fn capture_by_mark_is_told_to_both_sides() {
    let mut options = InjectOptions::default();
    options.capture.by_mark = true;
    let pod = injected(&pod(), &options);
    let [init, proxy] = pod["spec"]["initContainers"].as_array().unwrap().as_slice() else { panic!("{pod}") };
    let args: Vec<_> = init["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert!(args.windows(2).any(|pair| pair == ["--proxy-mark", "1337"]), "{args:?}");
    assert_eq!(env(proxy, "LATEEN_CAPTURE_MARK"), "1337");
    assert_eq!(proxy["securityContext"]["capabilities"]["add"], json!(["NET_ADMIN"]));
    assert_eq!(proxy["securityContext"]["runAsUser"], json!(null), "there is no second user to run as");
}

#[test]
fn injecting_twice_is_injecting_once() {
    let mut customized = pod();
    customized["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "istio-proxy", "image": "auto", "resources": { "limits": { "cpu": "3" } } }));
    for pod in [pod(), customized] {
        let options = InjectOptions::default();
        let once = injected(&pod, &options);
        assert_eq!(injected(&once, &options), once);
    }
}

#[test]
fn the_patch_turns_the_submitted_pod_into_the_injected_one() {
    let (before, options) = (pod(), InjectOptions::default());
    let after = injected(&before, &options);
    let operations = patch(&before, &after);
    let mut patched = before;
    for operation in &operations {
        apply(&mut patched, operation);
    }
    assert_eq!(patched, after);
}

/// Enough of RFC 6902 to check our own patches, written apart from the code that makes them.
fn apply(document: &mut Value, operation: &Value) {
    let path = operation["path"].as_str().unwrap();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(parent).unwrap();
    match (operation["op"].as_str().unwrap(), parent) {
        ("add", Value::Array(items)) if name == "-" => items.push(operation["value"].clone()),
        ("add" | "replace", Value::Object(fields)) => drop(fields.insert(name, operation["value"].clone())),
        ("replace", Value::Array(items)) => items[name.parse::<usize>().unwrap()] = operation["value"].clone(),
        ("remove", Value::Object(fields)) => drop(fields.remove(&name).unwrap()),
        (other, _) => panic!("{other} at {path}"),
    }
}

#[test]
fn labels_annotations_and_namespace_decide_about_injection() {
    let decide_with = |change: &dyn Fn(&mut Value, &mut InjectOptions), namespace: &str| {
        let (mut pod, mut options) = (pod(), InjectOptions::default());
        change(&mut pod, &mut options);
        decide(&pod, namespace, &options)
    };
    let label = |value: &'static str| {
        move |pod: &mut Value, _: &mut InjectOptions| {
            pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!(value)
        }
    };
    let never = |_: &mut Value, options: &mut InjectOptions| {
        options.selection.never = vec![json!({ "matchLabels": { "app": "backend" } })];
    };
    let on_demand = |_: &mut Value, options: &mut InjectOptions| options.selection.enabled = false;
    let on_demand_but_selected = |_: &mut Value, options: &mut InjectOptions| {
        options.selection.enabled = false;
        options.selection.always =
            vec![json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["backend"] }] })];
    };
    let disagreeing = |pod: &mut Value, _: &mut InjectOptions| {
        pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("true");
        pod["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "false" });
    };
    let host = |pod: &mut Value, _: &mut InjectOptions| pod["spec"]["hostNetwork"] = json!(true);
    assert_eq!(decide_with(&|_, _| {}, "default"), Decision::Inject);
    assert_eq!(decide_with(&label("false"), "default"), Decision::Skip(Skip::PodSaysNo));
    assert_eq!(decide_with(&disagreeing, "default"), Decision::Inject);
    assert_eq!(decide_with(&host, "default"), Decision::Skip(Skip::HostNetwork));
    assert_eq!(decide_with(&label("true"), "kube-system"), Decision::Skip(Skip::SystemNamespace));
    assert_eq!(decide_with(&never, "default"), Decision::Skip(Skip::NeverInjectSelector));
    assert_eq!(decide_with(&on_demand, "default"), Decision::Skip(Skip::PolicyDisabled));
    assert_eq!(decide_with(&on_demand_but_selected, "default"), Decision::Inject);
}

#[test]
fn a_bad_annotation_is_refused_by_name() {
    for (annotation, value) in [
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "web"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/33"),
        ("sidecar.istio.io/interceptionMode", "MAGIC"),
        ("proxy.istio.io/config", "[1, 2"),
        ("status.sidecar.istio.io/port", "70000"),
    ] {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({ annotation: value });
        let request = Request { pod: &pod, namespace: "default", namespace_annotations: None, workload: None };
        let error = inject(&request, &InjectOptions::default()).unwrap_err().to_string();
        assert!(error.contains(annotation), "{error}");
    }
}

#[test]
fn the_installed_config_maps_configure_the_injector() {
    let install =
        crate::install::InstallOptions { capture_by_mark: true, ..crate::install::InstallOptions::local("9.8.7") };
    let objects = crate::install::manifests(&install);
    let data = |name: &str, key: &str| {
        let map = objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
        map.unwrap()["data"][key].as_str().unwrap().to_owned()
    };
    let injector = crate::install::INJECTOR_CONFIG_MAP;
    let options = InjectOptions::from_config_maps(
        &data(injector, "values"),
        &data(injector, "config"),
        &data(crate::install::MESH_CONFIG_MAP, "mesh"),
    )
    .unwrap();
    assert_eq!(options.proxy.image, "lateen/lateen:9.8.7");
    assert_eq!(options.capture.image, "lateen/lateen:9.8.7");
    assert_eq!(options.revision, "default");
    assert!(options.capture.by_mark && options.native_sidecars && options.selection.enabled);
}
