//! Steps that look at the status of objects.

use std::collections::BTreeMap;

use lateen_control_core::gateway_api::CONTROLLER;
use lateen_testkit::kubectl::Kubectl;
use serde_json::Value;

use super::get;

/// Gateways of the Gateway API, as kubectl tells them from those of Istio.
pub const GATEWAY: &str = "gateways.gateway.networking.k8s.io";

/// The steps that are carried out here.
pub const CHECKS: [&str; 26] = [
    "wait_for_gateway_address",
    "gateway_must_have_condition",
    "gateway_must_have_latest_conditions",
    "gateway_must_have_zero_routes",
    "gateway_must_have_attached_listeners",
    "gateway_status_must_have_listeners",
    "gateway_listener_must_have_conditions",
    "gateway_listeners_must_have_conditions",
    "listener_set_must_have_condition",
    "listener_set_listeners_must_have_conditions",
    "listener_set_status_must_have_listeners",
    "http_route_must_have_resolved_refs_conditions_true",
    "http_route_must_have_condition",
    "tls_route_must_have_condition",
    "tcp_route_must_have_condition",
    "http_route_must_have_latest_conditions",
    "http_route_must_have_no_accepted_parents",
    "tls_route_must_have_no_accepted_parents",
    "http_route_must_have_parents",
    "tcp_route_must_have_parents",
    "backend_tls_policy_must_have_condition",
    "gateway_and_http_routes_must_be_accepted",
    "gateway_and_routes_must_be_accepted",
    "gateway_and_tls_routes_must_be_accepted",
    "gateway_and_tcp_routes_must_be_accepted",
    "routes_and_parent_must_be_accepted",
];

/// Carries out a step.
pub fn check(check: &str, step: &Value, kubectl: &Kubectl, kinds: &BTreeMap<String, String>) -> Result<(), String> {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let gateway = || gateway_name(&step["gateway"]);
    match check {
        "wait_for_gateway_address" => gateway_ready(kubectl, &gateway()),
        "gateway_must_have_condition" => {
            let object = get(kubectl, GATEWAY, &gateway())?;
            has(&object["status"]["conditions"], &step["expected_condition"])
        }
        "gateway_must_have_latest_conditions" => latest(&get(kubectl, GATEWAY, &gateway())?, "/status/conditions"),
        "gateway_must_have_zero_routes" => {
            let object = get(kubectl, GATEWAY, &gateway())?;
            let attached = items(&object["status"]["listeners"]).iter().any(|l| l["attachedRoutes"] != 0);
            when(!attached, || format!("{}", object["status"]["listeners"]))
        }
        "gateway_must_have_attached_listeners" => {
            let object = get(kubectl, GATEWAY, &gateway())?;
            let attached = object["status"]["attachedListenerSets"].as_i64().unwrap_or(0);
            when(Some(attached) == step["expected_count"].as_i64(), || format!("{attached} are attached"))
        }
        "gateway_status_must_have_listeners" => listeners(&get(kubectl, GATEWAY, &gateway())?, &step["listeners"]),
        "gateway_listener_must_have_conditions" => {
            listener(&get(kubectl, GATEWAY, &gateway())?, text("listener"), &step["conditions"])
        }
        "gateway_listeners_must_have_conditions" => {
            all_listeners(&get(kubectl, GATEWAY, &gateway())?, &step["listener_names"], &step["conditions"])
        }
        "listener_set_must_have_condition" => {
            let object = get(kubectl, "listenerset", text("listener_set"))?;
            has(&object["status"]["conditions"], &step["expected_condition"])
        }
        "listener_set_listeners_must_have_conditions" => {
            let object = get(kubectl, "listenerset", text("listener_set"))?;
            all_listeners(&object, &step["listener_names"], &step["conditions"])
        }
        "listener_set_status_must_have_listeners" => {
            listeners(&get(kubectl, "listenerset", text("listener_set"))?, &step["listeners"])
        }
        "http_route_must_have_resolved_refs_conditions_true" => {
            let wanted = serde_json::json!({"type": "ResolvedRefs", "status": "True"});
            route(kubectl, "httproute", text("route"), &gateway(), &wanted)
        }
        "http_route_must_have_condition" => route(kubectl, "httproute", text("route"), &gateway(), &step["condition"]),
        "tls_route_must_have_condition" => route(kubectl, "tlsroute", text("route"), &gateway(), &step["condition"]),
        "tcp_route_must_have_condition" => route(kubectl, "tcproute", text("route"), &gateway(), &step["condition"]),
        "http_route_must_have_latest_conditions" => {
            let object = get(kubectl, "httproute", text("r"))?;
            (0..items(&object["status"]["parents"]).len())
                .try_for_each(|n| latest(&object, &format!("/status/parents/{n}/conditions")))
        }
        "http_route_must_have_no_accepted_parents" => no_parents(&get(kubectl, "httproute", text("route"))?),
        "tls_route_must_have_no_accepted_parents" => no_parents(&get(kubectl, "tlsroute", text("route"))?),
        "http_route_must_have_parents" => parents(&get(kubectl, "httproute", text("route"))?, &step["parents"]),
        "tcp_route_must_have_parents" => parents(&get(kubectl, "tcproute", text("route"))?, &step["parents"]),
        "backend_tls_policy_must_have_condition" => policy(kubectl, text("policy"), &gateway(), &step["condition"]),
        "gateway_and_http_routes_must_be_accepted"
        | "gateway_and_routes_must_be_accepted"
        | "gateway_and_tls_routes_must_be_accepted"
        | "gateway_and_tcp_routes_must_be_accepted" => {
            gateway_ready(kubectl, &gateway())?;
            accepted(kubectl, &step["routes"], &gateway(), kinds)
        }
        "routes_and_parent_must_be_accepted" => {
            accepted(kubectl, &step["routes"], &gateway_name(&step["resource"]), kinds)
        }
        other => Err(format!("no such step: {other}")),
    }
}

/// `ns/name` of `ns/name`, `ns/name port 443` or `{gateway: ns/name}`.
pub fn gateway_name(value: &Value) -> String {
    let text = value.as_str().or_else(|| value["gateway"].as_str()).unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn gateway_ready(kubectl: &Kubectl, name: &str) -> Result<(), String> {
    let object = get(kubectl, GATEWAY, name)?;
    let conditions = &object["status"]["conditions"];
    for kind in ["Accepted", "Programmed"] {
        has(conditions, &serde_json::json!({"type": kind, "status": "True"}))?;
    }
    when(!items(&object["status"]["addresses"]).is_empty(), || "the gateway has no address".to_owned())
}

fn accepted(kubectl: &Kubectl, routes: &Value, parent: &str, kinds: &BTreeMap<String, String>) -> Result<(), String> {
    for name in items(routes).iter().filter_map(Value::as_str) {
        let kind = kinds.get(name).map_or("httproute", String::as_str);
        route(kubectl, kind, name, parent, &serde_json::json!({"type": "Accepted", "status": "True"}))?;
    }
    Ok(())
}

/// A condition at all parents of this name.
fn route(kubectl: &Kubectl, kind: &str, name: &str, parent: &str, wanted: &Value) -> Result<(), String> {
    let object = get(kubectl, kind, name)?;
    let (own, _) = name.split_once('/').unwrap_or_default();
    let (namespace, parent) = parent.split_once('/').unwrap_or_default();
    let is = |entry: &&Value| {
        let reference = &entry["parentRef"];
        reference["name"] == parent && reference["namespace"].as_str().unwrap_or(own) == namespace
    };
    let all: Vec<&Value> = items(&object["status"]["parents"]).iter().filter(is).collect();
    when(!all.is_empty(), || format!("{name} has no such parent: {}", object["status"]))?;
    all.into_iter().try_for_each(|entry| has(&entry["conditions"], wanted))
}

/// A condition of a policy, as told by a Gateway.
fn policy(kubectl: &Kubectl, name: &str, gateway: &str, wanted: &Value) -> Result<(), String> {
    let object = get(kubectl, "backendtlspolicy", name)?;
    let (_, gateway) = gateway.split_once('/').unwrap_or_default();
    let mut all = items(&object["status"]["ancestors"]).iter();
    let own = all.find(|entry| entry["ancestorRef"]["name"] == gateway);
    has(own.map_or(&Value::Null, |entry| &entry["conditions"]), wanted)
}

fn parents(object: &Value, wanted: &Value) -> Result<(), String> {
    for wanted in items(wanted) {
        let found = items(&object["status"]["parents"]).iter().any(|entry| {
            entry["controllerName"] == CONTROLLER
                && entry["parentRef"]["name"] == wanted["parent_ref"]["name"]
                && items(&wanted["conditions"]).iter().all(|wanted| has(&entry["conditions"], wanted).is_ok())
        });
        when(found, || format!("{wanted} is not in {}", object["status"]))?;
    }
    Ok(())
}

fn no_parents(object: &Value) -> Result<(), String> {
    let accepted = serde_json::json!({"type": "Accepted", "status": "True"});
    let any = items(&object["status"]["parents"]).iter().any(|entry| has(&entry["conditions"], &accepted).is_ok());
    when(!any, || format!("{}", object["status"]))
}

fn listeners(object: &Value, wanted: &Value) -> Result<(), String> {
    for wanted in items(wanted) {
        let name = wanted["name"].as_str().unwrap_or_default();
        let found = listener_of(object, name)?;
        if let Some(attached) = wanted["attached_routes"].as_i64() {
            let is = found["attachedRoutes"].as_i64().unwrap_or(0);
            when(is == attached, || format!("{name} has {is} routes, not {attached}"))?;
        }
        for kind in items(&wanted["supported_kinds"]) {
            let kinds = items(&found["supportedKinds"]);
            when(kinds.iter().any(|k| k["kind"] == kind["kind"]), || format!("{name} lacks {kind}"))?;
        }
        items(&wanted["conditions"]).iter().try_for_each(|wanted| has(&found["conditions"], wanted))?;
    }
    Ok(())
}

fn listener_of<'a>(object: &'a Value, name: &str) -> Result<&'a Value, String> {
    let mut all = items(&object["status"]["listeners"]).iter();
    all.find(|listener| listener["name"] == name).ok_or_else(|| format!("no listener {name}: {}", object["status"]))
}

fn listener(object: &Value, name: &str, conditions: &Value) -> Result<(), String> {
    let found = listener_of(object, name)?;
    items(conditions).iter().try_for_each(|wanted| has(&found["conditions"], wanted))
}

fn all_listeners(object: &Value, names: &Value, conditions: &Value) -> Result<(), String> {
    let given: Vec<&str> = items(names).iter().filter_map(Value::as_str).collect();
    let all = items(&object["status"]["listeners"]).iter().filter_map(|l| l["name"].as_str());
    let names: Vec<&str> = if given.is_empty() { all.collect() } else { given };
    when(!names.is_empty(), || "there are no listeners".to_owned())?;
    names.into_iter().try_for_each(|name| listener(object, name, conditions))
}

/// Are all conditions of the latest generation.
fn latest(object: &Value, at: &str) -> Result<(), String> {
    let generation = &object["metadata"]["generation"];
    let conditions = object.pointer(at).map(items).unwrap_or_default();
    let fresh = !conditions.is_empty() && conditions.iter().all(|c| c["observedGeneration"] == *generation);
    when(fresh, || format!("generation {generation}: {conditions:?}"))
}

/// Is a condition there with this status and reason; an empty reason stands for any.
fn has(conditions: &Value, wanted: &Value) -> Result<(), String> {
    let fits = |found: &Value, key: &str| {
        let wanted = wanted[key].as_str().unwrap_or_default();
        wanted.is_empty() || found[key] == wanted
    };
    let all = items(conditions);
    let found = all.iter().any(|found| ["type", "status", "reason"].iter().all(|key| fits(found, key)));
    when(found, || format!("{wanted} is not among {conditions}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn when(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
