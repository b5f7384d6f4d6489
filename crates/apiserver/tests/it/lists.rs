//! Lists in pages and watches, with their versions.

use serde_json::{Value, json};

use crate::cluster::Cluster;

const MAPS: &str = "/api/v1/namespaces/kube-public/configmaps";

async fn raw(cluster: &Cluster, query: &str) -> Value {
    serde_json::from_str(&cluster.output(&format!("get --raw {MAPS}?{query}")).await).unwrap()
}

async fn refused(cluster: &Cluster, query: &str) -> String {
    let said = cluster.kubectl(&format!("get --raw {MAPS}?{query}")).await;
    assert!(!said.ok, "{query}: {}", said.out);
    said.err
}

async fn add(cluster: &Cluster, names: &[String]) {
    for name in names {
        let object = json!({"metadata": {"name": name}});
        cluster.client.create(&lateen_apiserver::gvr::CONFIG_MAPS, "kube-public", object).await.unwrap();
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

fn version(list: &Value) -> u64 {
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_expire_but_can_be_gone_on_with() {
    let cluster = Cluster::start().await;
    add(&cluster, &["a", "b", "d"].map(str::to_owned)).await;
    let first = raw(&cluster, "limit=2").await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(1)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = raw(&cluster, &format!("limit=2&continue={token}")).await;
    assert_eq!((names(&rest), version(&rest)), (vec!["d"], version(&first)));
    // More changes than the server remembers.
    add(&cluster, &(0..600).map(|n| format!("c{n:03}")).collect::<Vec<_>>()).await;
    let said = refused(&cluster, &format!("limit=2&continue={token}")).await;
    assert!(said.contains("too old to display a consistent list"), "{said}");
    let said = refused(&cluster, &format!("resourceVersion={}&resourceVersionMatch=Exact", version(&first))).await;
    assert!(said.contains("too old resource version"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_match_as_asked() {
    let cluster = Cluster::start().await;
    add(&cluster, &["a".to_owned()]).await;
    let first = version(&raw(&cluster, "").await);
    add(&cluster, &["b".to_owned()]).await;
    let exact = raw(&cluster, &format!("resourceVersion={first}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact), ["a"]);
    let newer = raw(&cluster, &format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(names(&newer), ["a", "b"]);
    let cases = [
        ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", "is forbidden for resourceVersion \"0\""),
        ("resourceVersion=1&resourceVersionMatch=Older", "Unsupported value: \"Older\""),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        ("watch=true&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
        ("resourceVersion=999999", "Too large resource version: 999999, current: "),
        ("watch=true&resourceVersion=999999", "Too large resource version: 999999, current: "),
        ("continue=x", "continue key is not valid"),
    ];
    for (query, expected) in cases {
        let said = refused(&cluster, query).await;
        assert!(said.contains(expected), "{query}: {said}");
    }
}

async fn events(cluster: &Cluster, query: &str) -> Vec<Value> {
    let text = cluster.output(&format!("get --raw {MAPS}?watch=true&timeoutSeconds=1&{query}")).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_begin_where_they_are_told_to() {
    let cluster = Cluster::start().await;
    add(&cluster, &["a".to_owned()]).await;
    let first = version(&raw(&cluster, "").await);
    add(&cluster, &["b".to_owned()]).await;
    assert_eq!(kinds(&events(&cluster, "").await), ["ADDED", "ADDED"]);
    assert_eq!(kinds(&events(&cluster, &format!("resourceVersion={first}")).await), ["ADDED"]);
    let initial =
        events(&cluster, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").await;
    assert_eq!(kinds(&initial), ["ADDED", "ADDED", "BOOKMARK", "BOOKMARK"]);
    assert_eq!(initial[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    add(&cluster, &(0..600).map(|n| format!("c{n:03}")).collect::<Vec<_>>()).await;
    let gone = events(&cluster, &format!("resourceVersion={first}")).await;
    assert_eq!(kinds(&gone), ["ERROR"]);
    assert_eq!((&gone[0]["object"]["code"], &gone[0]["object"]["reason"]), (&json!(410), &json!("Expired")));
}
