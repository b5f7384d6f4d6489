use super::*;

fn object(kind: &str, name: &str) -> Value {
    manifests(&InstallOptions::local("1.2.3"))
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn selected(webhook: &Value, selector: &str, labels: &[(&str, &str)]) -> bool {
    webhook[selector]["matchExpressions"].as_array().unwrap().iter().all(|expression| {
        let key = expression["key"].as_str().unwrap();
        let value = labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let listed = expression["values"]
            .as_array()
            .is_some_and(|values| values.iter().any(|candidate| candidate.as_str() == value));
        match expression["operator"].as_str().unwrap() {
            "In" => listed,
            "NotIn" => !listed,
            "DoesNotExist" => value.is_none(),
            other => panic!("operator {other}"),
        }
    })
}

/// How many of the four webhooks ask for a pod with these labels, in a namespace with those.
fn injectors(namespace: &[(&str, &str)], pod: &[(&str, &str)]) -> usize {
    object("MutatingWebhookConfiguration", INJECTOR_WEBHOOK)["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|webhook| selected(webhook, "namespaceSelector", namespace) && selected(webhook, "objectSelector", pod))
        .count()
}

#[test]
fn labels_of_namespace_and_pod_choose_at_most_one_injector() {
    let enabled = ("istio-injection", "enabled");
    let disabled = ("istio-injection", "disabled");
    let revision = ("istio.io/rev", "default");
    let (on, off) = (("sidecar.istio.io/inject", "true"), ("sidecar.istio.io/inject", "false"));
    for (namespace, pod, expected) in [
        (vec![], vec![], 0),
        (vec![], vec![on], 1),
        (vec![], vec![revision], 1),
        (vec![enabled], vec![], 1),
        (vec![enabled], vec![on], 1),
        (vec![enabled], vec![off], 0),
        (vec![disabled], vec![on], 0),
        (vec![revision], vec![], 1),
        (vec![revision], vec![off], 0),
        (vec![enabled, revision], vec![], 1),
        (vec![disabled, revision], vec![], 0),
        (vec![("istio.io/rev", "other")], vec![], 0),
    ] {
        assert_eq!(injectors(&namespace, &pod), expected, "namespace {namespace:?}, pod {pod:?}");
    }
}

#[test]
fn every_resource_of_ours_is_validated_exactly_once() {
    let validator = object("ValidatingWebhookConfiguration", VALIDATOR_WEBHOOK);
    for labels in [vec![], vec![("istio.io/rev", "default")]] {
        let count = validator["webhooks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|webhook| selected(webhook, "objectSelector", &labels))
            .count();
        assert_eq!(count, 1, "{labels:?}");
    }
}

#[test]
fn the_service_selects_istiod_and_reaches_ports_it_declares() {
    let service = object("Service", "istiod");
    let template = object("Deployment", "istiod")["spec"]["template"].clone();
    for (key, value) in service["spec"]["selector"].as_object().unwrap() {
        assert_eq!(&template["metadata"]["labels"][key], value);
    }
    let declared: Vec<_> = template["spec"]["containers"][0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["containerPort"].clone())
        .collect();
    for port in service["spec"]["ports"].as_array().unwrap() {
        assert!(declared.contains(&port["targetPort"]), "{port}");
    }
}

#[test]
fn istiod_runs_the_control_plane_and_is_not_injected() {
    let template = object("Deployment", "istiod")["spec"]["template"].clone();
    assert_eq!(template["metadata"]["labels"]["sidecar.istio.io/inject"], "false");
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "lateen/lateen:1.2.3");
    assert_eq!(container["args"], json!(["control"]));
}

#[test]
fn the_local_mesh_logs_requests_and_a_cluster_does_not() {
    let mesh = |options: &InstallOptions| {
        manifests(options)
            .iter()
            .find(|object| object["metadata"]["name"] == MESH_CONFIG_MAP)
            .and_then(|object| object["data"]["mesh"].as_str().map(str::to_owned))
            .unwrap()
    };
    assert!(mesh(&InstallOptions::local("1")).contains("accessLogFile: /dev/stdout"));
    assert!(!mesh(&InstallOptions::new("1")).contains("accessLogFile"));
}

#[test]
fn every_binding_names_a_role_of_the_installation() {
    let objects = manifests(&InstallOptions::new("1"));
    let bindings: Vec<_> =
        objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding")).collect();
    assert_eq!(bindings.len(), 3);
    for binding in bindings {
        let role = &binding["roleRef"];
        assert!(
            objects
                .iter()
                .any(|object| { object["kind"] == role["kind"] && object["metadata"]["name"] == role["name"] })
        );
    }
}
