use lateen_api::crd::{gateway_api_crds, istio_crds};
use serde_json::{Value, json};

fn find(kind: &str) -> Value {
    istio_crds().into_iter().find(|c| c["spec"]["names"]["kind"] == kind).expect("kind is defined")
}

fn spec_schema(kind: &str) -> Value {
    find(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Kubernetes refuses a definition whose schema is not structural.
#[test]
fn schemas_are_structural() {
    for crd in istio_crds().into_iter().chain(gateway_api_crds()) {
        for version in crd["spec"]["versions"].as_array().expect("versions") {
            let path = format!("{}/{}", crd["metadata"]["name"], version["name"]);
            check(&path, &version["schema"]["openAPIV3Schema"]);
        }
    }
}

fn check(path: &str, schema: &Value) {
    let map = schema.as_object().unwrap_or_else(|| panic!("{path}: no object: {schema}"));
    let free = map.contains_key("x-kubernetes-preserve-unknown-fields");
    assert!(map.get("type").is_some_and(Value::is_string) || free, "{path}: no type: {schema}");
    for key in ["$ref", "default", "anyOf", "oneOf", "const", "definitions", "title"] {
        assert!(!map.contains_key(key), "{path}: has {key}: {schema}");
    }
    assert!(!(map.contains_key("properties") && map.contains_key("additionalProperties")), "{path}: both kinds");
    if let Some(format) = map.get("format") {
        assert!(["int32", "int64", "double", "byte"].contains(&format.as_str().expect("text")), "{path}: {format}");
    }
    if map["type"] == "array" {
        check(&format!("{path}[]"), &map["items"]);
    }
    if let Some(below) = map.get("additionalProperties") {
        check(&format!("{path}{{}}"), below);
    }
    for (name, below) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check(&format!("{path}.{name}"), below);
    }
}

#[test]
fn every_kind_has_one_stored_version() {
    let crds = istio_crds();
    assert_eq!((crds.len(), gateway_api_crds().len()), (15, 9));
    for crd in crds.into_iter().chain(gateway_api_crds()) {
        let stored = crd["spec"]["versions"].as_array().expect("versions").iter().filter(|v| v["storage"] == true);
        assert_eq!(stored.count(), 1, "{}", crd["metadata"]["name"]);
    }
}

#[test]
fn kinds_answer_to_their_short_names() {
    for (kind, short) in [("VirtualService", "vs"), ("DestinationRule", "dr"), ("PeerAuthentication", "pa")] {
        assert_eq!(find(kind)["spec"]["names"]["shortNames"], json!([short]));
    }
}

#[test]
fn enums_list_their_names_and_durations_are_text() {
    let pa = spec_schema("PeerAuthentication");
    assert_eq!(
        pa["properties"]["mtls"]["properties"]["mode"]["enum"],
        json!(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"])
    );
    let vs = spec_schema("VirtualService");
    assert_eq!(vs["properties"]["http"]["items"]["properties"]["timeout"]["type"], "string");
    let ef = spec_schema("EnvoyFilter");
    let value = &ef["properties"]["configPatches"]["items"]["properties"]["patch"]["properties"]["value"];
    assert_eq!(value["x-kubernetes-preserve-unknown-fields"], true);
}
