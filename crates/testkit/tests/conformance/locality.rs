//! Group `locality`: the order of endpoints by locality or labels, and which setting is in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio::{LoadBalancerSettings, LocalityLbSetting};
use lateen_control_core::resource::TrafficDistribution;
use lateen_control_core::snapshot::Endpoint;
use lateen_control_core::translate::locality::{Caller, Group, arrange, effective};
use lateen_mesh::Locality;
use lateen_testkit::conformance::{Score, read_all};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Order(Box<Order>),
    Settings { rows: Vec<Value> },
}

#[derive(Deserialize)]
struct Order {
    proxy_locality: String,
    localities: Vec<Place>,
    proxy_labels: BTreeMap<String, String>,
    setting: LocalityLbSetting,
    expect: Value,
}

#[derive(Deserialize)]
struct Place {
    locality: String,
    endpoints: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    address: String,
    weight: u32,
    labels: BTreeMap<String, String>,
}

#[test]
fn locality() -> anyhow::Result<()> {
    let Some(folder) = crate::group("locality") else { return Ok(()) };
    let mut score = Score::new("locality");
    for (name, file) in read_all::<File>(&folder)? {
        match file {
            File::Order(order) => score.count(name, check_order(&order)),
            File::Settings { rows } => {
                for row in &rows {
                    score.count(format!("{name}/{}", row["name"].as_str().unwrap_or_default()), check_setting(row));
                }
            }
        }
    }
    score.settle()
}

fn endpoint(target: &Target, locality: &Locality) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        address: target.address.clone(),
        further: Vec::new(),
        port: 80,
        labels: target.labels.clone(),
        namespace: String::new(),
        workload: String::new(),
        service_account: String::new(),
        locality: locality.clone(),
        node: String::new(),
        weight: target.weight,
        mesh_tls: false,
        hostname: String::new(),
        container_ports: Default::default(),
    })
}

fn check_order(order: &Order) -> Result<(), String> {
    let places: Vec<(Locality, Vec<Arc<Endpoint>>)> = order
        .localities
        .iter()
        .map(|place| {
            let locality = Locality::parse(&place.locality);
            let endpoints = place.endpoints.iter().map(|target| endpoint(target, &locality)).collect();
            (locality, endpoints)
        })
        .collect();
    let groups = places.iter().map(|(locality, endpoints)| Group::new(locality, endpoints.iter().collect())).collect();
    let here = Locality::parse(&order.proxy_locality);
    let label = |key: &str| order.proxy_labels.get(key).cloned();
    let found = arrange(groups, &Caller { locality: &here, label: &label }, &order.setting, true);
    // The addresses of one expectation name an endpoint twice that is there once: they are counted.
    let found: Vec<Value> = found
        .iter()
        .map(|group| json!([group.locality.to_string(), group.endpoints.len(), group.weight, group.priority]))
        .collect();
    let expected: Vec<Value> = order.expect["localities"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|group| {
            let endpoints = group["endpoints"].as_array().map_or(0, Vec::len);
            json!([group["locality"], endpoints, group["weight"], group["priority"]])
        })
        .collect();
    if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}

fn check_setting(row: &Value) -> Result<(), String> {
    if !row["expected_zone_aware"].is_null() {
        return Err("zone-aware balancing is not there yet".to_owned());
    }
    let read = |value: &Value| -> Result<LocalityLbSetting, String> {
        let mut value = value.clone();
        // An entry without content, in the way of the tests that the data comes from.
        if let Some(list) = value.get_mut("failover").and_then(Value::as_array_mut) {
            list.iter_mut().filter(|entry| entry.is_null()).for_each(|entry| *entry = json!({}));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    };
    let mesh = if row["mesh_locality"].is_null() { LocalityLbSetting::default() } else { read(&row["mesh_locality"])? };
    let rule = match &row["dr"]["localityLbSetting"] {
        Value::Null => LoadBalancerSettings::default(),
        setting => LoadBalancerSettings { locality_lb_setting: Some(read(setting)?), ..Default::default() },
    };
    let traffic = match row["svc"]["k8s_attributes"]["traffic_distribution"].as_str() {
        Some("PreferSameNode") => TrafficDistribution::SameNode,
        Some("PreferSameZone") => TrafficDistribution::SameZone,
        _ => TrafficDistribution::Any,
    };
    let found = effective(&mesh, rule.locality_lb_setting.as_ref(), traffic);
    let expected = if row["expected_locality"].is_null() { None } else { Some(read(&row["expected_locality"])?) };
    let forced = found.as_ref().is_some_and(|found| found.forced);
    if found.map(|found| found.setting) == expected && row["expected_force"] == forced {
        return Ok(());
    }
    Err(format!("forced {forced}, expected {}", row["expected_locality"]))
}
