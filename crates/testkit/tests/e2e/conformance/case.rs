//! The shape of a case, and what its placeholders stand for.

use std::collections::BTreeMap;

use lateen_testkit::world::World;
use serde::Deserialize;
use serde_json::Value;

use super::expect::Expect;

/// One configuration and the calls to make while it is active.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub id: String,
    #[serde(default)]
    pub config: Vec<Value>,
    pub calls: Vec<Call>,
}

/// One call, made `count` times.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub from: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub to: Option<String>,
    #[serde(default)]
    pub to_workload: Option<String>,
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default)]
    pub port: PortOfCall,
    #[serde(default)]
    pub scheme: Option<String>,
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub http2: bool,
    #[serde(default)]
    pub follow_redirects: bool,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub count: Option<i32>,
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub destination_labels: BTreeMap<String, String>,
    pub expect: Expect,
}

/// How a call names its port.
#[derive(Clone, Default, Deserialize)]
pub struct PortOfCall {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub number: Option<u16>,
    #[serde(default)]
    pub protocol: Option<String>,
}

/// What a call asks for in its TLS handshake, where that differs from what its scheme and host say.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub server_name: String,
    /// The protocols to offer.
    pub alpn: Option<Vec<String>>,
}

/// Fills the placeholders of a case: `names` first, then addresses of the world.
///
/// # Errors
/// A placeholder that nothing stands for.
pub fn fill(case: &Value, names: &BTreeMap<String, String>, world: &World) -> Result<Case, String> {
    let mut case = case.clone();
    fill_value(&mut case, &|key| names.get(key).cloned().or_else(|| address(key, names, world)))?;
    serde_json::from_value(case).map_err(|error| error.to_string())
}

fn fill_value(value: &mut Value, find: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = fill_text(text, find)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_value(item, find))?,
        Value::Object(map) => {
            // Some keys are placeholders too.
            let entries: Vec<_> = std::mem::take(map).into_iter().collect();
            for (key, mut value) in entries {
                fill_value(&mut value, find)?;
                map.insert(fill_text(&key, find)?, value);
            }
        }
        _ => {}
    }
    Ok(())
}

fn fill_text(text: &str, find: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (key, after) = after.split_once('}').ok_or_else(|| format!("{text:?} has a placeholder without end"))?;
        filled.push_str(before);
        filled.push_str(&find(key).ok_or_else(|| format!("nothing in this world stands for ${{{key}}}"))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `x.ip` is the address of Service x, `x.pod_ip` that of its pod; x may be a placeholder's name, or begin with a
/// namespace. The second address of `external` belongs to a Service of its own.
fn address(key: &str, names: &BTreeMap<String, String>, world: &World) -> Option<String> {
    let (workload, what) = key.rsplit_once('.')?;
    let workload = names.get(workload).map_or(workload, String::as_str);
    let (namespace, workload) = match workload.split_once('.') {
        Some((namespace, workload)) => (namespace, workload),
        None if workload == "external" => (names.get("external_ns")?.as_str(), workload),
        None => (names.get("ns")?.as_str(), workload),
    };
    match what {
        "ip" | "ip1" => world.service_address(workload, namespace).map(str::to_owned),
        "ip2" => world.service_address(&format!("{workload}-second"), namespace).map(str::to_owned),
        "pod_ip" => world.pod_address(workload, namespace).map(str::to_owned),
        _ => None,
    }
}
