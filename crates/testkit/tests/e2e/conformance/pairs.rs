//! Which sources and destinations a case runs for that is meant for any.

use std::collections::BTreeMap;

use lateen_testkit::world::{Kind, Workload, World};
use serde_json::Value;

/// How many pairs a case runs for where nothing else is asked.
const PAIRS: usize = 2;

/// The names to fill in, one set for each run of the case.
pub fn of(case: &Value, world: &World, namespace: &str) -> Vec<BTreeMap<String, String>> {
    if case["pairs"].is_null() {
        return vec![BTreeMap::new()];
    }
    let candidates = |filter: &str| -> Vec<&Workload> {
        world.of_namespace(namespace).filter(|workload| passes(&case[filter], workload)).collect()
    };
    let (sources, mut destinations) = (candidates("from_filter"), candidates("to_filter"));
    let ports = ports_of_destination(&case["config"]);
    destinations.retain(|workload| ports.iter().all(|port| workload.has_service_port(*port)));
    let mut pairs: Vec<_> = sources
        .iter()
        .flat_map(|source| destinations.iter().map(move |destination| (*source, *destination)))
        .filter(|(source, destination)| source.name != destination.name)
        .collect();
    let id = case["id"].as_str().unwrap_or_default();
    pairs.sort_by_key(|(source, destination)| mix(&format!("{id} {} {}", source.name, destination.name)));
    pairs.truncate(wanted());
    pairs.into_iter().map(|(source, destination)| names(source, destination, &destinations)).collect()
}

/// The ports of `${dst}` that routes lead to: those of a headless Service have other numbers.
fn ports_of_destination(config: &Value) -> Vec<u64> {
    match config {
        Value::Array(items) => items.iter().flat_map(ports_of_destination).collect(),
        Value::Object(map) => {
            let is_destination = map.get("host").and_then(Value::as_str).is_some_and(|host| host.starts_with("${dst}"));
            let own = map.get("port").filter(|_| is_destination).and_then(|port| port["number"].as_u64());
            own.into_iter().chain(map.values().flat_map(ports_of_destination)).collect()
        }
        _ => Vec::new(),
    }
}

fn wanted() -> usize {
    match std::env::var("LATEEN_CONFORMANCE_PAIRS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse().unwrap_or(PAIRS),
        Err(_) => PAIRS,
    }
}

fn names(source: &Workload, destination: &Workload, destinations: &[&Workload]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::from([("src".into(), source.name.clone()), ("dst".into(), destination.name.clone())]);
    let others = destinations.iter().filter(|other| other.name != destination.name);
    for (index, workload) in std::iter::once(&destination).chain(others).enumerate() {
        names.insert(format!("dst{index}"), workload.name.clone());
    }
    names
}

/// A number that looks random and is always the same (FNV-1a).
fn mix(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Filters by name; those about kinds of workloads that this world has none of let everything pass.
fn passes(filter: &Value, workload: &Workload) -> bool {
    match filter {
        Value::Array(all) => all.iter().all(|filter| passes(filter, workload)),
        Value::String(name) => match name.as_str() {
            "NotNaked" => workload.kind != Kind::Naked,
            "NotHeadless" => !workload.is_headless(),
            "RegularPod" => workload.kind == Kind::Regular,
            _ => true,
        },
        Value::Object(operator) => operator.iter().all(|(name, arguments)| match name.as_str() {
            "And" => passes(arguments, workload),
            "Or" => arguments.as_array().is_some_and(|any| any.iter().any(|filter| passes(filter, workload))),
            "ServiceName" => arguments.as_array().is_some_and(|names| names.iter().any(|name| *name == workload.name)),
            _ => false,
        }),
        _ => true,
    }
}
