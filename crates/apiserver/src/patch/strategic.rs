//! Strategic merge patch: lists of maps merge by a key that the type names.

use serde_json::{Map, Value};

use crate::{schema::definition, status::Status};

const REF_PREFIX: &str = "#/components/schemas/";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

/// The key by which the list `field` of a type merges; an empty key is a set of plain values.
pub fn merge_key(owner: &str, field: &str) -> Option<&'static str> {
    let owner = owner.rsplit('.').next().unwrap_or(owner);
    Some(match (owner, field) {
        (
            "PodSpec",
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "imagePullSecrets"
            | "schedulingGates"
            | "resourceClaims",
        )
        | ("Container" | "EphemeralContainer", "env")
        | ("ServiceAccount", "secrets")
        | ("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration", "webhooks")
        | ("PodStatus", "resourceClaimStatuses") => "name",
        ("PodSpec", "hostAliases") | ("PodStatus", "podIPs" | "hostIPs") => "ip",
        ("PodSpec", "topologySpreadConstraints") => "topologyKey",
        ("Container" | "EphemeralContainer", "ports") => "containerPort",
        ("Container" | "EphemeralContainer", "volumeMounts") => "mountPath",
        ("Container" | "EphemeralContainer", "volumeDevices") => "devicePath",
        ("ServiceSpec", "ports") => "port",
        ("NodeStatus", "addresses") => "type",
        (owner, "conditions") if owner.ends_with("Status") => "type",
        ("ObjectMeta", "ownerReferences") => "uid",
        ("ObjectMeta", "finalizers") | ("NodeSpec", "podCIDRs") => "",
        _ => return None,
    })
}

struct Type<'a> {
    name: &'a str,
    schema: Option<&'a Value>,
}

impl<'a> Type<'a> {
    fn of(schema: Option<&'a Value>) -> Self {
        let name = schema.and_then(|s| s["$ref"].as_str()?.strip_prefix(REF_PREFIX));
        match name {
            Some(name) => Self { name, schema: definition(name) },
            None => Self { name: "", schema },
        }
    }

    fn field(&self, key: &str) -> Type<'a> {
        let schema = self
            .schema
            .and_then(|s| s["properties"].get(key).or_else(|| s.get("additionalProperties").filter(|a| a.is_object())));
        Type::of(schema)
    }

    fn items(&self) -> Type<'a> {
        Type::of(self.schema.and_then(|s| s.get("items")))
    }
}

/// Applies a patch to an object of the named definition.
pub fn apply(name: &str, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let kind = Type { name, schema: definition(name) };
    merge_value(&kind, target, patch)
}

fn bad(text: impl Into<String>) -> Status {
    Status::bad_request(text)
}

fn merge_value(kind: &Type<'_>, target: &mut Value, patch: &Value) -> Result<(), Status> {
    match patch {
        Value::Object(patch) => merge_map(kind, target, patch),
        other => {
            *target = other.clone();
            Ok(())
        }
    }
}

fn merge_map(kind: &Type<'_>, target: &mut Value, patch: &Map<String, Value>) -> Result<(), Status> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(bad(format!("Unknown patch type: {other}"))),
    }
    let map = crate::object::as_map(target);
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_PREFIX) {
            if let (Some(Value::Array(list)), Some(gone)) = (map.get_mut(field), value.as_array()) {
                list.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            continue;
        } else if value.is_null() {
            map.shift_remove(key);
        } else if let (Value::Array(items), Some(by)) = (value, merge_key(kind.name, key)) {
            let order = patch.get(&format!("{ORDER_PREFIX}{key}")).and_then(Value::as_array);
            let list = map.entry(key.as_str()).or_insert(Value::Array(Vec::new()));
            merge_list(&kind.field(key).items(), by, list, items, order)?;
        } else {
            let field = kind.field(key);
            merge_value(&field, map.entry(key.as_str()).or_insert(Value::Null), value)?;
        }
    }
    reorder_untouched(kind, map, patch);
    Ok(())
}

/// A patch may order a list without changing any of it.
fn reorder_untouched(kind: &Type<'_>, map: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, order) in patch {
        let Some(field) = key.strip_prefix(ORDER_PREFIX) else {
            continue;
        };
        if patch.contains_key(field) {
            continue;
        }
        if let (Some(by), Some(Value::Array(list)), Some(order)) =
            (merge_key(kind.name, field), map.get_mut(field), order.as_array())
        {
            *list = ordered(by, list, list, order);
        }
    }
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().filter(|(k, _)| !k.starts_with('$')).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn identity(by: &str, item: &Value) -> Value {
    if by.is_empty() { item.clone() } else { item[by].clone() }
}

fn merge_list(
    kind: &Type<'_>,
    by: &str,
    target: &mut Value,
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<(), Status> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(list) = target else {
        return Ok(());
    };
    let before = list.clone();
    if patch.iter().any(|item| item["$patch"] == "replace") {
        list.clear();
    }
    for item in patch {
        let id = identity(by, item);
        match item["$patch"].as_str() {
            Some("replace") if item.as_object().is_some_and(|m| m.len() == 1) => continue,
            Some("delete") => {
                if id.is_null() {
                    return Err(bad(format!("delete patch type with no merge key defined: {by}")));
                }
                list.retain(|existing| identity(by, existing) != id);
                continue;
            }
            _ => {}
        }
        if id.is_null() {
            return Err(bad(format!("map: {item} does not contain declared merge key: {by}")));
        }
        match list.iter_mut().find(|existing| identity(by, existing) == id) {
            Some(_) if by.is_empty() => {}
            Some(existing) => merge_value(kind, existing, item)?,
            None => list.push(match item {
                Value::Object(map) => {
                    let mut fresh = Value::Object(Map::new());
                    merge_map(kind, &mut fresh, map)?;
                    fresh
                }
                plain => plain.clone(),
            }),
        }
    }
    if let Some(order) = order {
        *list = ordered(by, list, &before, order);
    }
    Ok(())
}

/// Items that `order` names come in its order; the others stay where they were among them.
fn ordered(by: &str, list: &[Value], before: &[Value], order: &[Value]) -> Vec<Value> {
    let ids: Vec<Value> = order.iter().map(|o| identity(by, o)).collect();
    let rank = |item: &Value| ids.iter().position(|id| *id == identity(by, item));
    let place = |item: &Value| {
        let id = identity(by, item);
        before.iter().position(|b| identity(by, b) == id)
    };
    let mut named: Vec<&Value> = list.iter().filter(|i| rank(i).is_some()).collect();
    named.sort_by_key(|i| rank(i));
    let mut others = list.iter().filter(|i| rank(i).is_none()).peekable();
    let mut result = Vec::with_capacity(list.len());
    for item in named {
        if let Some(own) = place(item) {
            while let Some(other) = others.next_if(|o| place(o).is_some_and(|p| p < own)) {
                result.push(other.clone());
            }
        }
        result.push(item.clone());
    }
    result.extend(others.cloned());
    result
}
