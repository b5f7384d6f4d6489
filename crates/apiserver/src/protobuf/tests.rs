use serde_json::json;

use super::*;

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, object)].concat()
}

#[test]
fn objects_are_read() {
    let meta = [field(1, b"c"), field(2, b""), field(8, &[])].concat();
    let data = [field(1, b"key"), field(2, b"value")].concat();
    let object = [field(1, &meta), field(2, &data), field(3, &data)].concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &object)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
            "data": {"key": "value"}, "binaryData": {"key": "dmFsdWU="},
        })
    );
}

#[test]
fn broken_bodies_are_refused() {
    let truncated = &body("v1", "ConfigMap", &[10, 99, 1])[..];
    for bytes in [&b"{}"[..], b"k8s\0\x0a\xff", truncated] {
        assert_eq!(decode(bytes), Err(Error::Malformed));
    }
    assert!(matches!(decode(&body("v1", "Wizard", &[])), Err(Error::Unknown { .. })));
}

#[test]
fn every_message_that_a_field_names_is_known() {
    let leaves = [
        "meta.v1.Time",
        "meta.v1.MicroTime",
        "resource.Quantity",
        "intstr.IntOrString",
        "runtime.RawExtension",
        "meta.v1.FieldsV1",
        "authorization.v1.ExtraValue",
        "authentication.v1.ExtraValue",
    ];
    for (name, message) in messages() {
        for field in message.values().filter(|f| f.kind.len() > 1) {
            let known = leaves.contains(&field.kind) || messages().contains_key(field.kind);
            assert!(known, "{name}.{} is a {}", field.name, field.kind);
        }
    }
}
