//! Rows of Services, nodes, configuration and the like.

use serde_json::{Value, json};

use super::{Layout, age, list, number, or_none, pairs, since, string, text, wide};

fn service_ports(spec: &Value) -> String {
    let port = |p: &Value| {
        let protocol = p["protocol"].as_str().unwrap_or("TCP");
        match p["nodePort"].as_i64().unwrap_or(0) {
            0 => format!("{}/{protocol}", p["port"]),
            node => format!("{}:{node}/{protocol}", p["port"]),
        }
    };
    or_none(list(&spec["ports"]).iter().map(port).collect::<Vec<_>>().join(","))
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses: Vec<String> = list(&spec["externalIPs"]).iter().map(string).collect();
    match spec["type"].as_str() {
        Some("ExternalName") => string(&spec["externalName"]),
        Some("LoadBalancer") => {
            let ingress = list(&service["status"]["loadBalancer"]["ingress"]);
            let one = |i: &Value| i["ip"].as_str().or_else(|| i["hostname"].as_str()).unwrap_or_default().to_owned();
            let mut all: Vec<String> = ingress.iter().map(one).collect();
            all.append(&mut addresses);
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        _ => or_none(addresses.join(",")),
    }
}

fn service(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        spec["type"].clone(),
        or_none(string(&spec["clusterIP"])).into(),
        external(object).into(),
        service_ports(spec).into(),
        age(object),
        or_none(pairs(&spec["selector"])).into(),
    ]
}

/// The first three, and how many more.
fn shortened(all: &[String]) -> String {
    match all {
        [] => "<none>".into(),
        few if few.len() <= 3 => few.join(","),
        _ => format!("{} + {} more...", all[..3].join(","), all.len() - 3),
    }
}

fn endpoint_slice(object: &Value) -> Vec<Value> {
    let ports = list(&object["ports"]);
    let ports = if ports.is_empty() {
        "<unset>".to_owned()
    } else {
        let names: Vec<String> = ports.iter().map(|p| p["port"].to_string()).collect();
        shortened(&names)
    };
    let ends = list(&object["endpoints"]);
    let addresses: Vec<String> = ends.iter().flat_map(|e| list(&e["addresses"]).iter().map(string)).collect();
    let addresses = if addresses.is_empty() { "<unset>".into() } else { shortened(&addresses) };
    vec![object["addressType"].clone(), ports.into(), addresses.into(), age(object)]
}

fn endpoints(object: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(&object["subsets"]) {
        if list(&subset["ports"]).is_empty() {
            all.extend(list(&subset["addresses"]).iter().map(|address| string(&address["ip"])));
        }
        for port in list(&subset["ports"]) {
            for address in list(&subset["addresses"]) {
                all.push(format!("{}:{}", string(&address["ip"]), port["port"]));
            }
        }
    }
    vec![shortened(&all).into(), age(object)]
}

fn node_address(object: &Value, kind: &str) -> Value {
    let addresses = list(&object["status"]["addresses"]);
    let found = addresses.iter().find(|a| a["type"] == kind);
    or_none(found.map_or_else(String::new, |a| string(&a["address"]))).into()
}

fn node(object: &Value) -> Vec<Value> {
    let conditions = list(&object["status"]["conditions"]);
    let ready = conditions.iter().find(|c| c["type"] == "Ready");
    let mut status = match ready.and_then(|c| c["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object["metadata"]["labels"].as_object();
    let roles = labels.into_iter().flatten().filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"));
    let mut roles: Vec<&str> = roles.collect();
    roles.sort_unstable();
    let info = &object["status"]["nodeInfo"];
    vec![
        status.into(),
        or_none(roles.join(",")).into(),
        age(object),
        info["kubeletVersion"].clone(),
        node_address(object, "InternalIP"),
        node_address(object, "ExternalIP"),
        or_none(string(&info["osImage"])).into(),
        or_none(string(&info["kernelVersion"])).into(),
        or_none(string(&info["containerRuntimeVersion"])).into(),
    ]
}

fn event(object: &Value) -> Vec<Value> {
    // Either group's names.
    let field = |core: &str, events: &str| {
        let value = &object[core];
        if value.is_null() { object[events].clone() } else { value.clone() }
    };
    let involved = field("involvedObject", "regarding");
    let first = field("firstTimestamp", "deprecatedFirstTimestamp");
    let last = field("lastTimestamp", "deprecatedLastTimestamp");
    let series = &object["series"];
    let time = |value: &Value| {
        let at = if value.is_string() { value } else { &object["eventTime"] };
        since(at)
    };
    let seen = if series.is_object() { since(&series["lastObservedTime"]) } else { time(&last) };
    let count = series["count"].as_i64().or_else(|| field("count", "deprecatedCount").as_i64());
    let source = field("source", "deprecatedSource");
    let component = match string(&source["component"]) {
        empty if empty.is_empty() => string(&field("reportingComponent", "reportingController")),
        component => component,
    };
    let host = string(&source["host"]);
    let source = if host.is_empty() { component } else { format!("{component}, {host}") };
    let object_name = format!("{}/{}", string(&involved["kind"]).to_lowercase(), string(&involved["name"]));
    vec![
        seen.into(),
        object["type"].clone(),
        object["reason"].clone(),
        object_name.into(),
        string(&involved["fieldPath"]).into(),
        source.into(),
        string(&field("message", "note")).trim().into(),
        time(&first).into(),
        json!(count.unwrap_or(1).max(1)),
        object["metadata"]["name"].clone(),
    ]
}

fn size(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

fn binding(object: &Value) -> Vec<Value> {
    let role = &object["roleRef"];
    let subjects = |kind: &str| {
        let of_kind = list(&object["subjects"]).iter().filter(|s| s["kind"] == kind);
        let name = |s: &Value| match kind {
            "ServiceAccount" => format!("{}/{}", string(&s["namespace"]), string(&s["name"])),
            _ => string(&s["name"]),
        };
        of_kind.map(name).collect::<Vec<_>>().join(", ")
    };
    vec![
        format!("{}/{}", string(&role["kind"]), string(&role["name"])).into(),
        age(object),
        subjects("User").into(),
        subjects("Group").into(),
        subjects("ServiceAccount").into(),
    ]
}

fn disruption_budget(object: &Value) -> Vec<Value> {
    let shown = |value: &Value| match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        shown(&object["spec"]["minAvailable"]).into(),
        shown(&object["spec"]["maxUnavailable"]).into(),
        json!(object["status"]["disruptionsAllowed"].as_i64().unwrap_or(0)),
        age(object),
    ]
}

/// `pods: 0/3, ...`: of limits, or of all else.
fn quota(object: &Value, limits: bool) -> String {
    let hard = object["spec"]["hard"].as_object().into_iter().flatten();
    let shown = hard.filter(|(resource, _)| resource.starts_with("limits.") == limits).map(|(resource, hard)| {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let used = &object["status"]["used"][resource];
        format!("{resource}: {}/{}", if used.is_null() { "0".to_owned() } else { plain(used) }, plain(hard))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn param_kind(policy: &Value) -> String {
    let kind = &policy["spec"]["paramKind"];
    if !kind.is_object() {
        return "<unset>".into();
    }
    format!("{}/{}", string(&kind["apiVersion"]), string(&kind["kind"]))
}

fn param_ref(binding: &Value) -> String {
    let reference = &binding["spec"]["paramRef"];
    if !reference.is_object() {
        return "<unset>".into();
    }
    let namespace = string(&reference["namespace"]);
    let namespace = if namespace.is_empty() { "*".to_owned() } else { namespace };
    let name = string(&reference["name"]);
    if name.is_empty() { super::selector(&reference["selector"]) } else { format!("{namespace}/{name}") }
}

/// The layout of a kind, if it is one of these.
pub fn layout(group: &str, plural: &str) -> Option<Layout> {
    Some(match (group, plural) {
        ("", "services") => Layout {
            columns: const {
                &[text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), text("Age"), wide("Selector")]
            },
            cells: service,
        },
        ("", "namespaces") => Layout {
            columns: const { &[text("Status"), text("Age")] },
            cells: |o| vec![o["status"]["phase"].clone(), age(o)],
        },
        ("", "nodes") => Layout {
            columns: const {
                &[
                    text("Status"),
                    text("Roles"),
                    text("Age"),
                    text("Version"),
                    wide("Internal-IP"),
                    wide("External-IP"),
                    wide("OS-Image"),
                    wide("Kernel-Version"),
                    wide("Container-Runtime"),
                ]
            },
            cells: node,
        },
        (_, "events") => Layout {
            columns: const {
                &[
                    text("Last Seen"),
                    text("Type"),
                    text("Reason"),
                    text("Object"),
                    wide("Subobject"),
                    wide("Source"),
                    text("Message"),
                    wide("First Seen"),
                    super::Column { name: "Count", kind: "integer", wide: true },
                    wide("Name"),
                ]
            },
            cells: event,
        },
        ("", "endpoints") => Layout { columns: const { &[text("Endpoints"), text("Age")] }, cells: endpoints },
        ("discovery.k8s.io", "endpointslices") => Layout {
            columns: const { &[text("AddressType"), text("Ports"), text("Endpoints"), text("Age")] },
            cells: endpoint_slice,
        },
        ("", "configmaps") => Layout {
            columns: const { &[number("Data"), text("Age")] },
            cells: |o| vec![(size(&o["data"]) + size(&o["binaryData"])).into(), age(o)],
        },
        ("", "secrets") => Layout {
            columns: const { &[text("Type"), number("Data"), text("Age")] },
            cells: |o| vec![o["type"].clone(), size(&o["data"]).into(), age(o)],
        },
        ("", "serviceaccounts") => Layout {
            columns: const { &[number("Secrets"), text("Age")] },
            cells: |o| vec![list(&o["secrets"]).len().into(), age(o)],
        },
        ("coordination.k8s.io", "leases") => Layout {
            columns: const { &[text("Holder"), text("Age")] },
            cells: |o| vec![o["spec"]["holderIdentity"].clone(), age(o)],
        },
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => Layout {
            columns: const { &[number("Validations"), text("ParamKind"), text("Age")] },
            cells: |o| vec![list(&o["spec"]["validations"]).len().into(), param_kind(o).into(), age(o)],
        },
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => Layout {
            columns: const { &[text("PolicyName"), text("ParamRef"), text("Age")] },
            cells: |o| vec![o["spec"]["policyName"].clone(), param_ref(o).into(), age(o)],
        },
        ("admissionregistration.k8s.io", _) => Layout {
            columns: const { &[number("Webhooks"), text("Age")] },
            cells: |o| vec![list(&o["webhooks"]).len().into(), age(o)],
        },
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => Layout {
            columns: const { &[text("Role"), text("Age"), wide("Users"), wide("Groups"), wide("ServiceAccounts")] },
            cells: binding,
        },
        ("rbac.authorization.k8s.io", _) | ("apiextensions.k8s.io", _) => Layout {
            columns: const { &[text("Created At")] },
            cells: |o| vec![o["metadata"]["creationTimestamp"].clone()],
        },
        ("scheduling.k8s.io", "priorityclasses") => Layout {
            columns: const { &[number("Value"), text("Global-Default"), text("Age"), text("PreemptionPolicy")] },
            cells: |o| {
                vec![o["value"].clone(), (o["globalDefault"] == true).into(), age(o), o["preemptionPolicy"].clone()]
            },
        },
        ("node.k8s.io", "runtimeclasses") => {
            Layout { columns: const { &[text("Handler"), text("Age")] }, cells: |o| vec![o["handler"].clone(), age(o)] }
        }
        ("", "resourcequotas") => Layout {
            columns: const { &[text("Request"), text("Limit"), text("Age")] },
            cells: |o| vec![quota(o, false).into(), quota(o, true).into(), age(o)],
        },
        ("", "limitranges") => Layout {
            columns: const { &[text("Created At")] },
            cells: |o| vec![o["metadata"]["creationTimestamp"].clone()],
        },
        ("policy", "poddisruptionbudgets") => Layout {
            columns: const { &[text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), text("Age")] },
            cells: disruption_budget,
        },
        _ => return None,
    })
}
