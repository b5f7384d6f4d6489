//! Rows of Ingresses and of the kinds that are only stored.

use serde_json::{Value, json};

use super::{Layout, age, list, number, or_none, selector, string, text};

fn ingress(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts: Vec<String> =
        list(&spec["rules"]).iter().map(|r| string(&r["host"])).filter(|h| !h.is_empty()).collect();
    let hosts = match hosts.as_slice() {
        [] => "*".to_owned(),
        few if few.len() <= 3 => few.join(","),
        many => format!("{} + {} more...", many[..3].join(","), many.len() - 3),
    };
    let points = list(&object["status"]["loadBalancer"]["ingress"]);
    let point = |p: &Value| p["ip"].as_str().or_else(|| p["hostname"].as_str()).unwrap_or_default().to_owned();
    let ports = if list(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        or_none(string(&spec["ingressClassName"])).into(),
        hosts.into(),
        points.iter().map(point).collect::<Vec<_>>().join(",").into(),
        ports.into(),
        age(object),
    ]
}

fn ingress_class(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let parameters = &spec["parameters"];
    let shown = if parameters.is_object() {
        let kind = string(&parameters["kind"]);
        let group = parameters["apiGroup"].as_str().map_or_else(String::new, |g| format!(".{g}"));
        format!("{kind}{group}/{}", string(&parameters["name"]))
    } else {
        "<none>".to_owned()
    };
    vec![spec["controller"].clone(), shown.into(), age(object)]
}

/// `cpu: <unknown>/80%` of each metric; `v1` objects have one number.
fn targets(spec: &Value) -> String {
    if let Some(percent) = spec["targetCPUUtilizationPercentage"].as_i64() {
        return format!("cpu: <unknown>/{percent}%");
    }
    let one = |metric: &Value| {
        let resource = &metric["resource"];
        let target = &resource["target"];
        match (target["averageUtilization"].as_i64(), target["averageValue"].as_str()) {
            (Some(percent), _) => format!("{}: <unknown>/{percent}%", string(&resource["name"])),
            (None, Some(value)) => format!("{}: <unknown>/{value}", string(&resource["name"])),
            _ => "<unknown>".to_owned(),
        }
    };
    or_none(list(&spec["metrics"]).iter().map(one).collect::<Vec<_>>().join(", "))
}

fn autoscaler(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let target = &spec["scaleTargetRef"];
    vec![
        format!("{}/{}", string(&target["kind"]), string(&target["name"])).into(),
        targets(spec).into(),
        spec["minReplicas"].as_i64().map_or_else(|| "<unset>".into(), |n| n.to_string()).into(),
        json!(spec["maxReplicas"].as_i64().unwrap_or(0)),
        json!(object["status"]["currentReplicas"].as_i64().unwrap_or(0)),
        age(object),
    ]
}

fn signing_request(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let is = |kind: &str| list(&object["status"]["conditions"]).iter().any(|c| c["type"] == kind);
    let mut state = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if is("Failed") {
        state.push_str(",Failed");
    }
    if object["status"]["certificate"].is_string() {
        state.push_str(",Issued");
    }
    let duration = spec["expirationSeconds"].as_i64().map_or_else(|| "<none>".into(), crate::clock::age);
    vec![age(object), spec["signerName"].clone(), string(&spec["username"]).into(), duration.into(), state.into()]
}

/// The layout of a kind, if it is one of these.
pub fn layout(group: &str, plural: &str) -> Option<Layout> {
    Some(match (group, plural) {
        ("networking.k8s.io", "ingresses") => Layout {
            columns: const { &[text("Class"), text("Hosts"), text("Address"), text("Ports"), text("Age")] },
            cells: ingress,
        },
        ("networking.k8s.io", "ingressclasses") => {
            Layout { columns: const { &[text("Controller"), text("Parameters"), text("Age")] }, cells: ingress_class }
        }
        ("networking.k8s.io", "networkpolicies") => Layout {
            columns: const { &[text("Pod-Selector"), text("Age")] },
            cells: |o| vec![selector(&o["spec"]["podSelector"]).into(), age(o)],
        },
        ("autoscaling", "horizontalpodautoscalers") => Layout {
            columns: const {
                &[text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), number("Replicas"), text("Age")]
            },
            cells: autoscaler,
        },
        ("certificates.k8s.io", "certificatesigningrequests") => Layout {
            columns: const {
                &[text("Age"), text("SignerName"), text("Requestor"), text("RequestedDuration"), text("Condition")]
            },
            cells: signing_request,
        },
        _ => return None,
    })
}
