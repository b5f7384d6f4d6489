use serde_json::json;

use super::*;

fn pod() -> Schema {
    Schema::builtin("io.k8s.api.core.v1.Pod")
}

/// Applies several configurations in turn, each by its manager.
fn applied(steps: &[(&str, Value)]) -> Result<Value, Status> {
    let mut current: Option<Value> = None;
    for (manager, configuration) in steps {
        let done = apply(&pod(), current.as_ref(), configuration, manager, false)?;
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
    current["metadata"]["managedFields"] = apply(&pod(), None, &first, "a", false).unwrap().managers;
    let forced = apply(&pod(), Some(&current), &second, "b", true).unwrap();
    assert_eq!(forced.object["spec"]["containers"][0]["image"], "2");
    let a = &forced.managers[0]["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"x\"}"];
    assert!(a["f:image"].is_null(), "{a}");
}

#[test]
fn the_same_again_changes_nothing() {
    let configuration = with(json!([{"name": "x", "ports": [{"containerPort": 80}]}]));
    let first = apply(&pod(), None, &configuration, "a", false).unwrap();
    let mut current = first.object.clone();
    current["metadata"]["managedFields"] = first.managers.clone();
    let second = apply(&pod(), Some(&current), &configuration, "a", false).unwrap();
    assert_eq!((second.object, second.managers), (current, first.managers));
}
