use serde_json::json;

use super::*;

fn pod() -> Schema {
    Schema::builtin("io.k8s.api.core.v1.Pod")
}

#[test]
fn unknown_fields_of_builtin_kinds_are_named_and_dropped() {
    let mut object = json!({
        "metadata": {"name": "a", "labels": {"any": "label"}},
        "spec": {"foo": 1, "containers": [{"name": "c", "imagePulPolicy": "x", "image": null}]},
    });
    let report = pod().decode(&mut object);
    assert_eq!(
        report.strict(),
        [r#"unknown field "spec.containers[0].imagePulPolicy""#, r#"unknown field "spec.foo""#]
    );
    assert_eq!(object["spec"], json!({"containers": [{"name": "c"}]}));
}

#[test]
fn values_of_wrong_types_are_refused_in_kubernetes_words() {
    let cases = [
        (
            json!({"spec": {"containers": [{"name": 5}]}}),
            "json: cannot unmarshal number into Go struct field Container.spec.containers[0].name of type string",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": "x"}}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
    ];
    for (mut object, expected) in cases {
        assert_eq!(pod().decode(&mut object).mistyped.as_deref(), Some(expected));
    }
}

#[test]
fn duplicate_fields_are_found() {
    let (value, duplicates) = parse_json(br#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":1}]}"#).unwrap();
    assert_eq!(duplicates, ["a.b", "c[0].d"]);
    assert_eq!(value["a"]["b"], 2);
}

fn widget() -> Schema {
    Schema::custom(json!({
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "name": {"type": "string", "pattern": "^a", "maxLength": 3},
                "port": {"x-kubernetes-int-or-string": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "match": {"oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                          "type": "object", "properties": {"a": {}, "b": {}}},
            },
        }},
    }))
}

#[test]
fn custom_resources_are_pruned_and_defaulted() {
    let mut object = json!({"kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 1, "extra": {"x": 1}, "free": {"y": {"z": 1}}}});
    let report = widget().decode(&mut object);
    widget().default(&mut object);
    assert_eq!(report.unknown, ["spec.extra"]);
    assert_eq!(object["spec"], json!({"size": 1, "free": {"y": {"z": 1}}, "color": "red"}));
}

#[test]
fn custom_resources_are_validated_in_kubernetes_words() {
    let cases = [
        (json!({}), "spec: Required value"),
        (json!({"spec": {}}), "spec.size: Required value"),
        (
            json!({"spec": {"size": "big"}}),
            r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
        ),
        (
            json!({"spec": {"size": 0}}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            json!({"spec": {"size": 1, "color": "green"}}),
            r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
        ),
        (
            json!({"spec": {"size": 1, "name": "b"}}),
            r#"spec.name: Invalid value: "b": spec.name in body should match '^a'"#,
        ),
        (json!({"spec": {"size": 1, "name": "abcd"}}), "spec.name: Too long: may not be more than 3 bytes"),
        (
            json!({"spec": {"size": 1, "match": {"a": 1, "b": 1}}}),
            r#"spec.match: Invalid value: {"a":1,"b":1}: "spec.match" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
    ];
    for (object, expected) in cases {
        let errors: Vec<String> = widget().validate(&object).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected], "{object}");
    }
    assert!(widget().validate(&json!({"spec": {"size": 2, "port": "http"}})).is_empty());
}
