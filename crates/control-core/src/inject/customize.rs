//! What a user asked of the containers that a template declares: their own container of that name wins.

use serde_json::{Map, Value, json};

use super::PROXY_CONTAINER;

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// The user's containers that a template declares too, by the list they end up in.
#[derive(Default)]
pub(super) struct Overrides {
    containers: Vec<Value>,
    init_containers: Vec<Value>,
}

impl Overrides {
    /// The annotation that remembers them, for a later injection of the same pod.
    pub fn annotation(&self) -> Option<String> {
        if self.containers.is_empty() && self.init_containers.is_empty() {
            return None;
        }
        let mut fields = Map::new();
        for (name, list) in [("containers", &self.containers), ("initContainers", &self.init_containers)] {
            if !list.is_empty() {
                fields.insert(name.into(), json!(list));
            }
        }
        Some(Value::Object(fields).to_string())
    }
}

/// Takes note of the user's containers that `overlay` declares, and moves a user's proxy container to the list where
/// the template has the proxy.
pub(super) fn take(pod: &mut Value, overlay: &Value) -> Overrides {
    if declares(overlay, "initContainers", PROXY_CONTAINER) {
        move_to_init(pod);
    }
    let mut overrides = Overrides::default();
    for list in LISTS {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for container in containers {
            let name = container["name"].as_str().unwrap_or_default();
            if declares(overlay, list, name) {
                let taken = remembered(container);
                match list {
                    "containers" => overrides.containers.push(taken),
                    _ => overrides.init_containers.push(taken),
                }
            }
        }
    }
    overrides
}

/// Merges the user's fields back over the template's.
pub(super) fn apply(pod: &mut Value, overrides: &Overrides) {
    for (list, customized) in LISTS.into_iter().zip([&overrides.containers, &overrides.init_containers]) {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for user in customized {
            if let Some(container) = containers.iter_mut().find(|container| container["name"] == user["name"]) {
                let mut fields = user.clone();
                // Declaring no resources is not asking for none, unless the template has none either.
                if let Some(map) = fields.as_object_mut() {
                    map.retain(|name, value| name != "resources" || value != &json!({}));
                }
                super::merge::merge(container, &fields);
                if container.get("resources").is_none() {
                    container["resources"] = json!({});
                }
            }
        }
    }
}

fn declares(overlay: &Value, list: &str, name: &str) -> bool {
    super::containers(overlay, list).any(|container| container["name"] == name)
}

fn move_to_init(pod: &mut Value) {
    let Some(containers) = pod["spec"]["containers"].as_array_mut() else {
        return;
    };
    let Some(at) = containers.iter().position(|container| container["name"] == PROXY_CONTAINER) else {
        return;
    };
    let proxy = containers.remove(at);
    match pod["spec"].get_mut("initContainers").and_then(Value::as_array_mut) {
        Some(list) => list.push(proxy),
        None => pod["spec"]["initContainers"] = json!([proxy]),
    }
}

/// The container as remembered: image `auto` means "the template's".
fn remembered(container: &mut Value) -> Value {
    if let Some(fields) = container.as_object_mut()
        && fields.get("image").is_some_and(|image| image == "auto")
    {
        fields.remove("image");
    }
    let mut taken = container.clone();
    if taken.get("resources").is_none() {
        taken["resources"] = json!({});
    }
    taken
}
