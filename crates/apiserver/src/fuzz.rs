//! Properties that hold for any input: nothing panics, merging is idempotent, a watcher knows what a list knows.
//!
//! Each is tried with a few inputs in every test run, and with as many as `LATEEN_FUZZ_CASES` says (`make fuzz`).

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use serde_json::{Map, Value, json};

use crate::{
    apply::{self, Writer},
    cel::{Budget, Program, Quantity, canonical_quantity, untyped},
    http_front::parse_body,
    patch,
    schema::Schema,
    selector::{FieldSelector, LabelSelector},
    store::{EntryKind, Key, Store, Stored},
};

const NAMES: [&str; 12] = [
    "metadata",
    "labels",
    "spec",
    "containers",
    "name",
    "env",
    "value",
    "$patch",
    "$retainKeys",
    "finalizers",
    "a",
    "b",
];

/// JSON in which the names that patches know are likely.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "merge", "replace", "delete", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let name = prop::sample::select(NAMES.to_vec());
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..5).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
            }),
        ]
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let env = ("[xy]", "[12]").prop_map(|(name, value)| json!({"name": name, "value": value}));
    let container = ("[abc]", "[12]", vec(env, 0..3))
        .prop_map(|(name, image, env)| json!({"name": name, "image": image, "env": env}));
    let labels = prop::collection::btree_map("[xyz]", "[12]", 0..3);
    (vec(container, 0..4), labels).prop_map(|(mut containers, labels)| {
        // Keys of lists are unique, as validation demands.
        let unique = |list: &mut Vec<Value>| {
            let mut seen = Vec::new();
            list.retain(|item| {
                !seen.contains(&item["name"]) && {
                    seen.push(item["name"].clone());
                    true
                }
            });
        };
        unique(&mut containers);
        for container in &mut containers {
            container["env"].as_array_mut().into_iter().for_each(unique);
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels},
               "spec": {"containers": containers}})
    })
}

fn pod() -> Schema {
    Schema::builtin("io.k8s.api.core.v1.Pod")
}

fn writer(name: &str) -> Writer {
    Writer { manager: name.into(), api_version: "v1".into(), subresource: String::new() }
}

fn applied(current: Option<&Value>, configuration: &Value, by: &Writer) -> Value {
    let options = apply::Options { writer: by, force: true, has_status: true };
    let done = apply::apply(&pod(), current, configuration, &options).unwrap();
    let mut object = done.object;
    apply::store(&mut object, done.managers);
    object
}

/// What failed once belongs in a test of its own, not in a file of seeds.
fn settings() -> ProptestConfig {
    let cases = std::env::var("LATEEN_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Operations of JSON patches, most of them about places that there are.
fn any_operations() -> impl Strategy<Value = Value> {
    let place = prop::sample::select(vec![
        "",
        "/",
        "/a",
        "/b",
        "/spec",
        "/spec/containers",
        "/spec/containers/0",
        "/spec/containers/-",
        "/spec/containers/01",
        "/spec/containers/99999999999999999999",
        "/metadata/labels/a~1b",
        "/metadata/labels/a~0b",
        "/a~2",
        "a",
    ]);
    let kind = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test", "invent"]);
    let one = (kind, place.clone(), place, any_json())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}));
    vec(one, 0..6).prop_map(Value::from)
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn patches_never_panic(target in any_json(), patch in any_json()) {
        let _ = patch::strategic("io.k8s.api.core.v1.Pod", &mut target.clone(), &patch);
        let _ = patch::json(&mut target.clone(), &patch);
        let mut once = target;
        patch::merge(&mut once, &patch);
        let mut twice = once.clone();
        patch::merge(&mut twice, &patch);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn operations_never_panic(target in any_json(), operations in any_operations()) {
        let _ = patch::json(&mut target.clone(), &operations);
    }

    #[test]
    fn merging_a_pod_into_another_keeps_its_lists_keyed(target in any_pod(), patch in any_pod()) {
        let merged = |target: &Value| {
            let mut merged = target.clone();
            patch::strategic("io.k8s.api.core.v1.Pod", &mut merged, &patch).unwrap();
            merged
        };
        let once = merged(&target);
        prop_assert_eq!(&merged(&once), &once, "merging again changes nothing");
        let names = |pod: &Value| -> Vec<String> {
            let list = pod["spec"]["containers"].as_array().into_iter().flatten();
            list.map(|c| c["name"].to_string()).collect()
        };
        let mut unique = names(&once);
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), names(&once).len());
        for name in names(&target).iter().chain(&names(&patch)) {
            prop_assert!(names(&once).contains(name), "{} is lost", name);
        }
        let mut nothing = target.clone();
        patch::strategic("io.k8s.api.core.v1.Pod", &mut nothing, &json!({})).unwrap();
        prop_assert_eq!(nothing, target);
    }

    #[test]
    fn who_applies_alone_gets_what_they_say(first in any_pod(), second in any_pod()) {
        let me = writer("me");
        let object = applied(None, &first, &me);
        let mut object = applied(Some(&object), &second, &me);
        prop_assert_eq!(&applied(Some(&object), &second, &me), &object);
        object["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        let by_name = |pod: &Value| -> BTreeMap<String, Value> {
            let list = pod["spec"]["containers"].as_array().into_iter().flatten();
            list.map(|c| (c["name"].to_string(), c["image"].clone())).collect()
        };
        prop_assert_eq!(by_name(&object), by_name(&second));
    }

    #[test]
    fn tracking_never_loses_a_field(first in any_pod(), second in any_pod()) {
        let mut object = first.clone();
        apply::track(&pod(), None, &mut object, &writer("one"), None);
        let mut changed = second;
        apply::track(&pod(), Some(&object), &mut changed, &writer("two"), None);
        let before = changed.clone();
        let mut again = changed.clone();
        apply::track(&pod(), Some(&changed), &mut again, &writer("three"), None);
        prop_assert_eq!(again, before, "nothing changed, so nobody is added");
    }

    #[test]
    fn selectors_never_panic(text in "[a-c!=<>(), innot./5-]{0,24}") {
        let labels = json!({"a": "b", "c": "5"});
        if let Ok(selector) = LabelSelector::parse(&text) {
            selector.matches(labels.as_object());
        }
        if let Ok(selector) = FieldSelector::parse(&text) {
            selector.matches(&labels);
        }
    }

    #[test]
    fn selectors_say_the_same_in_both_forms(key in "[abc]", value in "[12]", labels in prop::collection::btree_map("[abc]", "[12]", 0..3)) {
        let labels = json!(labels);
        let forms = [
            (format!("{key}={value}"), json!({"matchLabels": {key.clone(): value}})),
            (format!("{key}!={value}"), json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]})),
            (format!("{key} in ({value},x)"), json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value, "x"]}]})),
            (key.clone(), json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})),
            (format!("!{key}"), json!({"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]})),
        ];
        for (text, json) in forms {
            let (text_form, json_form) = (LabelSelector::parse(&text).unwrap(), LabelSelector::from_json(&json).unwrap());
            prop_assert_eq!(text_form.matches(labels.as_object()), json_form.matches(labels.as_object()), "{}", text);
        }
    }

    #[test]
    fn quantities_keep_their_amount(text in r"[+-]?[0-9]{0,6}(\.[0-9]{0,4})?(|n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|e[0-9]|E-?[0-9])") {
        if let Some(written) = canonical_quantity(&text) {
            prop_assert_eq!(Quantity::parse(&written), Quantity::parse(&text), "{} {}", &text, &written);
            prop_assert_eq!(canonical_quantity(&written), Some(written));
        }
    }

    #[test]
    fn bodies_never_panic(bytes in vec(any::<u8>(), 0..64), text in r#"[\[\]{}:,"'&*!|> a\n-]{0,48}"#) {
        for kind in ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", ""] {
            let _ = parse_body(&bytes, kind);
            let _ = parse_body(text.as_bytes(), kind);
            let _ = parse_body(&[b"k8s\0", &bytes[..]].concat(), kind);
        }
    }

    #[test]
    fn expressions_never_panic(text in r#"[a-c0-9.?:!&|<>=+*/%()\[\]{}"',-]{0,32}"#, object in any_json()) {
        if let Ok(program) = Program::compile(&text, &["a", "b", "c"]) {
            let value = untyped(&object);
            let _ = program.evaluate(&[("a", value.clone()), ("b", value.clone()), ("c", value)], &Budget::new(10_000));
        }
    }

    #[test]
    fn a_watcher_knows_what_a_list_knows(steps in vec((0_usize..5, any::<bool>(), any::<bool>()), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(steps))?;
    }
}

/// Writes and removes, now and then looks at what the watcher has; lists of earlier versions are what was listed then.
async fn follow(steps: Vec<(usize, bool, bool)>) -> TestCaseResult {
    let home = tempfile::tempdir().unwrap();
    let pods: Arc<str> = "/pods".into();
    let store = Store::open(&home.path().join("db"), 6).unwrap();
    let mut watcher = store.watch(&pods, store.version());
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let mut past = vec![(store.version(), listed(&store))];
    for (index, (name, remove, look)) in steps.into_iter().enumerate() {
        let key = Key::new(&pods, "default", &format!("pod-{name}"));
        let expected = store.latest(&key).as_deref().map_or(0, crate::object::resource_version);
        if remove && expected > 0 {
            store.remove(key, expected).await.unwrap();
        } else {
            let object = json!({"metadata": {"name": format!("pod-{name}"), "namespace": "default"}, "n": index});
            store.put(key, expected, object).await.unwrap();
        }
        past.push((store.version(), listed(&store)));
        for (version, then) in &past {
            match store.list_at("/pods", None, *version) {
                Ok(items) => prop_assert_eq!(&versions_of(&items), then),
                Err(gone) => prop_assert!(*version < gone.oldest, "{} is remembered", version),
            }
        }
        if !look {
            continue;
        }
        match watcher.poll() {
            Ok(entries) => {
                for entry in entries {
                    match entry.kind {
                        EntryKind::Deleted => known.remove(&*entry.id.1),
                        _ => known.insert(entry.id.1.to_string(), entry.version),
                    };
                }
            }
            Err(_) => {
                known = listed(&store);
                watcher = store.watch(&pods, store.version());
            }
        }
        prop_assert_eq!(&known, &listed(&store));
    }
    Ok(())
}

fn listed(store: &Store) -> BTreeMap<String, u64> {
    versions_of(&store.list("/pods", None).items)
}

fn versions_of(items: &[Arc<Stored>]) -> BTreeMap<String, u64> {
    items.iter().map(|stored| (crate::object::name(&stored.object()).to_owned(), stored.version())).collect()
}
