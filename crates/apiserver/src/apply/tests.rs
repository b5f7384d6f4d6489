use serde_json::json;

use super::*;

fn pod() -> Schema {
    Schema::builtin("io.k8s.api.core.v1.Pod")
}

fn options(writer: &Writer, force: bool) -> Options<'_> {
    Options { writer, force, has_status: true }
}

fn writer(manager: &str) -> Writer {
    Writer { manager: manager.into(), api_version: "v1".into(), subresource: String::new() }
}

/// Applies several configurations in turn, each by its manager.
fn applied(steps: &[(&str, Value)]) -> Result<Value, Status> {
    let mut current: Option<Value> = None;
    for (manager, configuration) in steps {
        let done = apply(&pod(), current.as_ref(), configuration, &options(&writer(manager), false))?;
        let mut object = done.object;
        object["metadata"]["managedFields"] = done.managers;
        current = Some(object);
    }
    let mut object = current.unwrap();
    object["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
    Ok(object)
}

fn with(containers: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
}

#[test]
fn what_a_manager_no_longer_says_goes() {
    let object = applied(&[
        ("a", with(json!([{"name": "x", "image": "1", "env": [{"name": "E", "value": "1"}]}, {"name": "y"}]))),
        ("a", with(json!([{"name": "x", "image": "2"}]))),
    ])
    .unwrap();
    assert_eq!(object, with(json!([{"name": "x", "image": "2"}])));
}

#[test]
fn managers_share_lists_and_keep_each_others_items() {
    let object = applied(&[
        ("a", with(json!([{"name": "x", "image": "1"}]))),
        ("b", with(json!([{"name": "y", "image": "1"}]))),
        ("a", with(json!([{"name": "z", "image": "1"}]))),
    ])
    .unwrap();
    assert_eq!(object, with(json!([{"name": "y", "image": "1"}, {"name": "z", "image": "1"}])));
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_forced() {
    let first = with(json!([{"name": "x", "image": "1"}]));
    let second = with(json!([{"name": "x", "image": "2"}]));
    let refused = applied(&[("a", first.clone()), ("b", second.clone())]).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"a\": .spec.containers[name=\"x\"].image"
    );
    assert!(applied(&[("a", first.clone()), ("b", first.clone())]).is_ok());
    let mut current = first.clone();
    current["metadata"]["managedFields"] = apply(&pod(), None, &first, &options(&writer("a"), false)).unwrap().managers;
    let forced = apply(&pod(), Some(&current), &second, &options(&writer("b"), true)).unwrap();
    assert_eq!(forced.object["spec"]["containers"][0]["image"], "2");
    let a = &forced.managers[0]["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"x\"}"];
    assert!(a["f:image"].is_null(), "{a}");
}

#[test]
fn the_same_again_changes_nothing() {
    let configuration = with(json!([{"name": "x", "ports": [{"containerPort": 80}]}]));
    let first = apply(&pod(), None, &configuration, &options(&writer("a"), false)).unwrap();
    let mut current = first.object.clone();
    current["metadata"]["managedFields"] = first.managers.clone();
    let second = apply(&pod(), Some(&current), &configuration, &options(&writer("a"), false)).unwrap();
    assert_eq!((second.object, second.managers), (current, first.managers));
}

fn tracked(old: Option<&Value>, mut new: Value, by: &Writer) -> Value {
    let sent = new["metadata"].get("managedFields").cloned().map(|list| json!({"managedFields": list}));
    track(&pod(), old, &mut new, by, sent.as_ref());
    new
}

#[test]
fn updates_own_what_they_change() {
    let first = tracked(
        None,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "1"}},
               "spec": {"containers": [{"name": "x", "image": "1"}]}}),
        &writer("create"),
    );
    let mut second = first.clone();
    second["spec"]["containers"][0]["image"] = "2".into();
    second["metadata"]["labels"] = json!({"b": "1"});
    let second = tracked(Some(&first), second, &writer("edit"));
    let fields = |index: usize| second["metadata"]["managedFields"][index]["fieldsV1"].clone();
    let managers: Vec<_> =
        second["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| &m["manager"]).collect();
    assert_eq!(managers, ["create", "edit"]);
    assert_eq!(
        fields(0),
        json!({"f:metadata": {"f:labels": {}},
               "f:spec": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}}}}})
    );
    assert_eq!(
        fields(1),
        json!({"f:metadata": {"f:labels": {"f:b": {}}},
               "f:spec": {"f:containers": {"k:{\"name\":\"x\"}": {"f:image": {}}}}})
    );
    assert_eq!(tracked(Some(&second), second.clone(), &writer("other")), second, "no change, no manager");
}

#[test]
fn a_field_that_was_edited_conflicts_with_an_apply() {
    let first = tracked(None, with(json!([{"name": "x", "image": "1"}])), &writer("edit"));
    let configuration = with(json!([{"name": "x", "image": "2"}]));
    let refused = apply(&pod(), Some(&first), &configuration, &options(&writer("a"), false)).err().unwrap();
    let text = "Apply failed with 1 conflict: conflict with \"edit\" using v1 at ";
    assert!(refused.message.starts_with(text), "{refused}");
    assert!(refused.message.ends_with(": .spec.containers[name=\"x\"].image"), "{refused}");
    let forced = apply(&pod(), Some(&first), &configuration, &options(&writer("a"), true)).unwrap();
    assert_eq!(forced.managers[0]["operation"], "Apply");
    let left = &forced.managers[1]["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"x\"}"];
    assert!(left["f:image"].is_null() && left["f:name"].is_object(), "{left}");
}

#[test]
fn what_was_there_before_anybody_was_noted_is_kept() {
    let current = with(json!([{"name": "x", "image": "1"}]));
    let done = apply(&pod(), Some(&current), &with(json!([{"name": "y"}])), &options(&writer("a"), false)).unwrap();
    assert_eq!(done.object["spec"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(done.managers[1]["manager"], "before-first-apply");
}

#[test]
fn managers_can_be_reset_and_rewritten() {
    let first = tracked(None, with(json!([{"name": "x", "image": "1"}])), &writer("edit"));
    for reset in [json!([]), json!([{}])] {
        let mut second = first.clone();
        second["metadata"]["managedFields"] = reset;
        assert!(tracked(Some(&first), second, &writer("edit"))["metadata"].get("managedFields").is_none());
    }
    let mut moved = first.clone();
    moved["metadata"]["managedFields"][0]["manager"] = "kubectl".into();
    moved["metadata"]["managedFields"][0]["operation"] = "Apply".into();
    assert_eq!(tracked(Some(&first), moved.clone(), &writer("edit")), moved);
}

#[test]
fn many_updaters_become_one() {
    let mut object = with(json!([{"name": "x", "image": "1"}]));
    for number in 0..15 {
        let old = object.clone();
        object["metadata"]["labels"][format!("l{number}")] = "1".into();
        object = tracked(Some(&old), object, &writer(&format!("m{number}")));
    }
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 10);
    assert!(managers.iter().any(|m| m["manager"] == "ancient-changes"));
}
