use serde_json::json;

use super::*;

#[test]
fn merge_patches_merge() {
    let mut value = json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "x": 1});
    merge(&mut value, &json!({"a": {"b": null, "d": 3}, "l": [3], "x": {"y": null, "z": 1}}));
    assert_eq!(value, json!({"a": {"c": 2, "d": 3}, "l": [3], "x": {"z": 1}}));
}

#[test]
fn strategic_patches_merge_lists_by_key() {
    let deployment = "io.k8s.api.apps.v1.Deployment";
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let cases = [
        (
            "a container's image",
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
                                  {"name": "b", "image": "1"}]}),
            json!({"containers": [{"name": "a", "image": "2"}]}),
            json!({"containers": [{"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}]},
                                  {"name": "b", "image": "1"}]}),
        ),
        (
            "a new container in front",
            json!({"containers": [{"name": "a"}, {"name": "injected"}]}),
            json!({"$setElementOrder/containers": [{"name": "n"}, {"name": "a"}],
                   "containers": [{"name": "n"}]}),
            json!({"containers": [{"name": "n"}, {"name": "a"}, {"name": "injected"}]}),
        ),
        (
            "deleting by directive",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        (
            "nested lists",
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 2}]}]}),
            json!({"containers": [{"name": "a",
                "ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2}]}]}),
        ),
        (
            "lists without a key are replaced",
            json!({"containers": [{"name": "a", "args": ["1", "2"]}], "tolerations": [{"key": "k"}]}),
            json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": []}),
            json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": []}),
        ),
        (
            "retained keys",
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"],
                                "configMap": {"name": "c"}}]}),
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
        ),
    ];
    for (what, before, patch, after) in cases {
        let mut value = pod(before);
        strategic(deployment, &mut value, &pod(patch)).unwrap();
        assert_eq!(value, pod(after), "{what}");
    }
}

#[test]
fn strategic_patches_of_metadata() {
    let mut value = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}});
    let patch = json!({"metadata": {"labels": {"a": null, "c": "3"}, "finalizers": ["z"],
        "$deleteFromPrimitiveList/finalizers": ["x"]}});
    strategic("io.k8s.api.core.v1.Namespace", &mut value, &patch).unwrap();
    assert_eq!(value, json!({"metadata": {"labels": {"b": "2", "c": "3"}, "finalizers": ["y", "z"]}}));
}

#[test]
fn a_patch_without_the_merge_key_is_refused() {
    let mut value = json!({"spec": {"containers": [{"name": "a"}]}});
    let patch = json!({"spec": {"containers": [{"image": "x"}]}});
    assert!(strategic("io.k8s.api.core.v1.Pod", &mut value, &patch).is_err());
}
