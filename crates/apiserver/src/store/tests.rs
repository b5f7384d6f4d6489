use serde_json::json;

use super::*;

fn pods() -> Arc<str> {
    "/pods".into()
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "status": {"phase": phase}})
}

fn key(name: &str) -> Key {
    Key::new(&pods(), "default", name)
}

#[tokio::test]
async fn an_acknowledged_write_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = Store::open(&path, 10).unwrap();
    let stored = store.put(key("a"), 0, pod("a", "Running")).await.unwrap();
    let copy = dir.path().join("copy");
    // What kill -9 would leave: the file as it is right now, the process still running.
    std::fs::copy(&path, &copy).unwrap();
    let reopened = Store::open(&copy, 10).unwrap();
    assert_eq!(reopened.get(&key("a")), Some(stored));
    assert_eq!(reopened.version(), store.version());
}

#[tokio::test]
async fn writes_need_the_expected_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), 10).unwrap();
    let first = store.put(key("a"), 0, pod("a", "Pending")).await.unwrap();
    let version = object::resource_version(&first);
    assert!(matches!(store.put(key("a"), 0, pod("a", "x")).await, Err(StoreError::Conflict)));
    assert!(matches!(store.put(key("a"), version + 1, pod("a", "x")).await, Err(StoreError::Conflict)));
    store.put(key("a"), version, pod("a", "Running")).await.unwrap();
    assert!(matches!(store.remove(key("a"), version).await, Err(StoreError::Conflict)));
    assert!(matches!(store.remove(key("b"), 0).await, Err(StoreError::Conflict)));
}

#[tokio::test]
async fn a_watcher_sees_every_change_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), 10).unwrap();
    let mut watcher = store.watch(&pods(), store.version());
    let a = store.put(key("a"), 0, pod("a", "Pending")).await.unwrap();
    let a = store.put(key("a"), object::resource_version(&a), pod("a", "Running")).await.unwrap();
    store.remove(key("a"), object::resource_version(&a)).await.unwrap();
    let kinds: Vec<_> = watcher.next().await.unwrap().iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EntryKind::Added, EntryKind::Modified, EntryKind::Deleted]);
    assert!(watcher.poll().unwrap().is_empty());
}

#[tokio::test]
async fn history_is_bounded_and_lists_can_be_rewound() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), 2).unwrap();
    let start = store.version();
    for name in ["a", "b", "c"] {
        store.put(key(name), 0, pod(name, "Running")).await.unwrap();
    }
    assert!(store.watch(&pods(), start).poll().is_err());
    assert_eq!(store.watch(&pods(), start + 1).poll().unwrap().len(), 2);
    assert_eq!(store.list_at("/pods", Some("default"), start + 2).unwrap().len(), 2);
    assert_eq!(store.list("/pods", Some("default")).items.len(), 3);
    assert_eq!(store.list("/pods", Some("defaul")).items.len(), 0);
}

#[tokio::test]
async fn concurrent_writers_of_one_counter_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), 100).unwrap();
    store.put(key("n"), 0, json!({"metadata": {}, "n": 0})).await.unwrap();
    let add = |store: Store| async move {
        for _ in 0..20 {
            loop {
                let current = store.latest(&key("n")).unwrap();
                let next = json!({"metadata": {}, "n": current["n"].as_u64().unwrap() + 1});
                let version = object::resource_version(&current);
                if store.put(key("n"), version, next).await.is_ok() {
                    break;
                }
            }
        }
    };
    tokio::join!(add(store.clone()), add(store.clone()), add(store.clone()));
    assert_eq!(store.get(&key("n")).unwrap()["n"], 60);
}
