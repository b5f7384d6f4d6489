//! Pod templates: their hash and whether two are the same.

use serde_json::Value;

use super::object::map_mut;

/// The label that tells the pods of one template from those of the Deployment's others.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Letters that make no words and look like no others.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A short name for a pod template, the same for equal templates whatever the order of members.
#[must_use]
pub fn hash(template: &Value) -> String {
    let mut state = Fnv::default();
    feed(&mut state, &without_hash(template));
    let mut rest = state.0;
    let mut name = String::with_capacity(10);
    for _ in 0..10 {
        name.push(char::from(ALPHABET[(rest % 27) as usize]));
        rest /= 27;
    }
    name
}

/// Whether two templates make the same pods; the hash label is left out.
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    without_hash(a) == without_hash(b)
}

/// `template` with the hash label set.
#[must_use]
pub fn with_hash(template: &Value, hash: &str) -> Value {
    let mut template = template.clone();
    map_mut(&mut template, "/metadata/labels").insert(HASH_LABEL.into(), hash.into());
    template
}

/// `template` without the hash label, and without members that say nothing.
fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH_LABEL);
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, v| !is_nothing(v));
    }
    template
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn feed(state: &mut Fnv, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort_unstable();
            state.write(b"{");
            for key in keys {
                state.write(key.as_bytes());
                state.write(b":");
                feed(state, &map[key]);
            }
            state.write(b"}");
        }
        Value::Array(list) => {
            state.write(b"[");
            for item in list {
                feed(state, item);
                state.write(b",");
            }
            state.write(b"]");
        }
        other => state.write(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_templates_have_equal_hashes_whatever_the_order() {
        let a = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": []}});
        let b = json!({"spec": {"containers": []}, "metadata": {"labels": {"b": "2", "a": "1"}}});
        assert_eq!(hash(&a), hash(&b));
        assert_eq!(hash(&a).len(), 10);
        let c = json!({"metadata": {"labels": {"a": "1", "b": "3"}}, "spec": {"containers": []}});
        assert_ne!(hash(&a), hash(&c));
    }

    #[test]
    fn the_hash_label_and_empty_metadata_make_no_difference() {
        let plain = json!({"metadata": {"labels": {"a": "1"}, "creationTimestamp": null}, "spec": {}});
        let marked = with_hash(&plain, "xyz");
        assert_eq!(marked["metadata"]["labels"][HASH_LABEL], "xyz");
        assert!(same(&plain, &marked));
        assert_eq!(hash(&plain), hash(&marked));
        assert!(!same(&plain, &json!({"metadata": {"labels": {"a": "1"}}, "spec": {"x": 1}})));
    }
}
