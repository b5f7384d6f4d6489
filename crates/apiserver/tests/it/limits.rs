//! What the server does not take: bad tokens, big bodies.

use lateen_apiserver::gvr;
use serde_json::json;

use crate::cluster::{Cluster, Said};

async fn ask(cluster: &Cluster, token: &str, words: &str) -> Said {
    let base = cluster.bearer(token.trim());
    let all: Vec<&str> = base.iter().map(String::as_str).chain(words.split_whitespace()).collect();
    cluster.kubectl_with(&all, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_others_and_of_the_dead_are_not_taken() {
    let cluster = Cluster::start().await;
    let unauthorized = |said: Said| said.err.contains("error: You must be logged in to the server");
    let elsewhere = cluster.output("create token default --audience=elsewhere").await;
    assert!(unauthorized(ask(&cluster, &elsewhere, "get pods").await));
    assert!(unauthorized(ask(&cluster, "a.b.c", "get pods").await));

    cluster.output("run p --image=i").await;
    let bound = cluster.output("create token default --bound-object-kind=Pod --bound-object-name=p").await;
    assert!(ask(&cluster, &bound, "auth whoami").await.out.contains("pod-name"), "it says whose it is");
    cluster.output("delete pod p --force --grace-period=0").await;
    assert!(unauthorized(ask(&cluster, &bound, "auth whoami").await));

    cluster.output("create secret generic s").await;
    let bound = cluster.output("create token default --bound-object-kind=Secret --bound-object-name=s").await;
    assert!(ask(&cluster, &bound, "auth whoami").await.ok);
    cluster.output("delete secret s").await;
    assert!(unauthorized(ask(&cluster, &bound, "auth whoami").await));

    let plain = cluster.output("create token default").await;
    assert!(ask(&cluster, &plain, "auth whoami").await.ok);
    cluster.output("delete serviceaccount default").await;
    cluster.add_default_account("default").await;
    assert!(unauthorized(ask(&cluster, &plain, "auth whoami").await), "another account of the same name");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_not_given_for_what_does_not_fit() {
    let cluster = Cluster::start().await;
    cluster.output("create serviceaccount other").await;
    cluster.output("run p --image=i").await;
    for (words, expected) in [
        ("other --bound-object-kind=Pod --bound-object-name=p", "pod running with different serviceaccount name"),
        ("default --bound-object-kind=Pod --bound-object-name=q", "pods \"q\" not found"),
        ("default --duration=1m", "may not specify a duration less than 10 minutes"),
        ("default --duration=1300000h", "may not specify a duration larger than 2^32 seconds"),
        ("ghost", "serviceaccounts \"ghost\" not found"),
    ] {
        let said = cluster.kubectl(&format!("create token {words}")).await;
        assert!(!said.ok && said.err.contains(expected), "{words}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_at_most_three_mebibytes() {
    let cluster = Cluster::start().await;
    let map = |bytes: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"},
        "data": {"a": "x".repeat(bytes)}})
    };
    let said = cluster.kubectl_with(&["create", "-f", "-"], &map(3 << 20).to_string()).await;
    assert_eq!(
        said.err,
        "Error from server (RequestEntityTooLarge): error when creating \"STDIN\": Request entity too large: limit is \
         3145728\n"
    );
    let said = cluster.kubectl_with(&["create", "-f", "-"], &map(2 << 20).to_string()).await;
    assert!(said.err.contains("Too long: may not be more than 1048576 bytes"), "{}", said.err);
    assert!(cluster.client.get(&gvr::CONFIG_MAPS, "default", "big").await.is_err());
}
