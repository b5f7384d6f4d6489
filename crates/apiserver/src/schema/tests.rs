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
            r#"<nil>: Invalid value: "": "spec.match" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
    ];
    for (object, expected) in cases {
        let errors: Vec<String> = widget().validate(&object, None).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected], "{object}");
    }
    assert!(widget().validate(&json!({"spec": {"size": 2, "port": "http"}}), None).is_empty());
}

fn refusals(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    Schema::custom(schema.clone()).validate(object, old).iter().map(ToString::to_string).collect()
}

fn ruled(rules: Value) -> Value {
    json!({
        "type": "object",
        "properties": {"spec": {
            "type": "object",
            "x-kubernetes-validations": rules,
            "properties": {
                "min": {"type": "integer"}, "max": {"type": "integer"}, "mode": {"type": "string"},
                "wait": {"type": "string", "format": "duration"},
                "free-port": {"x-kubernetes-int-or-string": true},
                "items": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {
                        "name": {"type": "string"},
                        "size": {"type": "integer", "x-kubernetes-validations": [
                            {"rule": "self >= oldSelf", "message": "must not shrink"}]},
                    }},
                },
            },
        }},
    })
}

#[test]
fn rules_refuse_in_kubernetes_words() {
    let object = json!({"spec": {"min": 5, "max": 3, "free-port": "http", "wait": "5s"}});
    let cases = [
        (
            json!({"rule": "self.min <= self.max"}),
            r#"spec: Invalid value: "object": failed rule: self.min <= self.max"#,
        ),
        (json!({"rule": "self.min <= self.max", "message": " too big "}), r#"spec: Invalid value: "object": too big"#),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "'%d > %d'.format([self.min, self.max])"}),
            r#"spec: Invalid value: "object": 5 > 3"#,
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".min"}),
            "spec.min: Forbidden: no",
        ),
        (
            json!({"rule": "self.mode == 'a'", "message": "mode"}),
            r#"spec: Invalid value: "object": no such key: mode evaluating rule: mode"#,
        ),
        (
            json!({"rule": "self.min == self.max + 'a'"}),
            r#"spec: Invalid value: "object": 'no such overload: _+_(int, string)': call arguments did not match a supported operator, function or macro signature for rule: self.min == self.max + 'a'"#,
        ),
    ];
    for (rule, expected) in cases {
        assert_eq!(refusals(&ruled(json!([rule])), &object, None), [expected], "{rule}");
    }
    let fine = json!([{"rule": "self.free__dash__port == 'http' && self.wait == duration('5s')"}]);
    assert!(refusals(&ruled(fine), &object, None).is_empty());
}

#[test]
fn transition_rules_compare_with_what_was() {
    let schema = ruled(json!([
        {"rule": "self.mode == oldSelf.mode", "message": "mode is immutable"},
        {"rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": true, "message": "starts at 1"},
    ]));
    let object = |mode: &str, min: i64, size: i64| json!({"spec": {"mode": mode, "min": min, "items": [{"name": "a", "size": size}]}});
    assert_eq!(refusals(&schema, &object("x", 2, 1), None), [r#"spec: Invalid value: "object": starts at 1"#]);
    let old = object("x", 1, 5);
    assert!(refusals(&schema, &object("x", 2, 5), Some(&old)).is_empty());
    assert_eq!(
        refusals(&schema, &object("y", 1, 4), Some(&old)),
        [
            r#"spec.items[0].size: Invalid value: "integer": must not shrink"#,
            r#"spec: Invalid value: "object": mode is immutable"#,
        ]
    );
}

#[test]
fn a_fault_that_was_there_before_is_not_held_against_a_change() {
    let schema = ruled(json!([{"rule": "self.min < 3", "message": "min"}]));
    let old = json!({"spec": {"min": 5}});
    let changed = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"min": 5}});
    assert!(refusals(&schema, &changed, Some(&old)).is_empty());
    assert_eq!(refusals(&schema, &json!({"spec": {"min": 6}}), Some(&old)).len(), 1);
}

#[test]
fn rules_of_an_object_of_wrong_shape_are_not_asked() {
    let schema = ruled(json!([{"rule": "self.min < 3"}]));
    assert_eq!(
        refusals(&schema, &json!({"spec": {"min": "x"}}), None)[1],
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct \
         the existing errors to complete validation"
    );
}

#[test]
fn keywords_are_checked() {
    let cases = [
        (json!({"type": "integer", "multipleOf": 5}), json!(7), "v in body should be a multiple of 5"),
        (json!({"type": "integer", "format": "int32"}), json!(3_000_000_000_i64), "must be of type int32"),
        (json!({"type": "string", "format": "ipv4"}), json!("::1"), r#"must be of type ipv4: "::1""#),
        (json!({"type": "string", "format": "date-time"}), json!("today"), "must be of type date-time"),
        (json!({"type": "number", "maximum": 1, "exclusiveMaximum": true}), json!(1), "should be less than 1"),
        (json!({"type": "integer", "enum": [1, 2]}), json!(3), "Unsupported value: 3: supported values: 1, 2"),
        (
            json!({"type": "object", "maxProperties": 1}),
            json!({"a": 1, "b": 1}),
            "Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "a"]),
            r#"v[1]: Duplicate value: "a""#,
        ),
        (
            json!({"type": "integer", "allOf": [{"minimum": 3}]}),
            json!(1),
            r#""v" must validate all the schemas (allOf)"#,
        ),
        (json!({"type": "integer", "anyOf": [{"minimum": 3}]}), json!(1), "must validate at least one schema (anyOf)"),
        (json!({"type": "integer", "not": {"minimum": 3}}), json!(4), r#""v" must not validate the schema (not)"#),
        (json!({"type": "string"}), json!(null), r#"v in body must be of type string: "null""#),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true}),
            json!({"kind": "X", "metadata": {"name": "A_"}}),
            "v.apiVersion: Required value: must not be empty",
        ),
    ];
    for (schema, value, expected) in cases {
        let schema = json!({"type": "object", "properties": {"v": schema}});
        let errors = refusals(&schema, &json!({"v": value}), None).join("; ");
        assert!(errors.contains(expected), "{schema}: {errors}");
    }
    let nullable = json!({"type": "object", "properties": {"v": {"type": "string", "nullable": true}}});
    assert!(refusals(&nullable, &json!({"v": null}), None).is_empty());
}
