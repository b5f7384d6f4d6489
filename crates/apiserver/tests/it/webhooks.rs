//! Admission webhooks over real TLS.

use base64::{Engine, engine::general_purpose::STANDARD};
use lateen_apiserver::gvr;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    hook::{Hook, start},
};

fn configuration(kind: &str, hook: &Hook, policy: &str) -> Value {
    let (port, bundle) = (hook.port, &hook.bundle);
    json!({"kind": kind, "metadata": {"name": "hooks"}, "webhooks": [{
        "name": "one.hooks.example", "clientConfig": {"url": format!("https://localhost:{port}/admit"), "caBundle": bundle},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
        "failurePolicy": policy, "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutating_webhook_changes_objects_of_selected_namespaces() {
    let cluster = Cluster::start().await;
    let hook = start(|request| {
        let patch = json!([{"op": "add", "path": "/data", "value": {"by": request["userInfo"]["username"]}}]);
        json!({"allowed": true, "warnings": ["mind the gap"], "patchType": "JSONPatch",
               "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
    let hooks = configuration("MutatingWebhookConfiguration", &hook, "Fail");
    cluster.client.create(&gvr::MUTATING_WEBHOOKS, "", hooks).await.unwrap();
    cluster.output("create configmap before").await;
    cluster.output("label ns default hooked=yes").await;
    let said = cluster.kubectl("create configmap after").await;
    assert!(said.err.contains("Warning: mind the gap"), "{}", said.err);
    assert_eq!(cluster.output("get cm after -o jsonpath={.data.by}").await, "kubernetes-admin");
    assert_eq!(cluster.output("get cm before -o jsonpath={.data}").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validating_webhook_refuses_and_its_absence_is_told() {
    let cluster = Cluster::start().await;
    cluster.output("label ns default hooked=yes").await;
    let mut hook = start(|_| json!({"allowed": false, "status": {"message": "not today"}})).await;
    let hooks = configuration("ValidatingWebhookConfiguration", &hook, "Fail");
    cluster.client.create(&gvr::VALIDATING_WEBHOOKS, "", hooks.clone()).await.unwrap();
    let said = cluster.kubectl("create configmap c").await;
    assert!(said.err.contains("admission webhook \"one.hooks.example\" denied the request: not today"), "{}", said.err);
    hook.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let absent = configuration("ValidatingWebhookConfiguration", &hook, "Fail");
    cluster.client.update(&gvr::VALIDATING_WEBHOOKS, "", absent).await.unwrap();
    let said = cluster.kubectl("create configmap c").await;
    let expected =
        "Internal error occurred: failed calling webhook \"one.hooks.example\": failed to call webhook: Post";
    assert!(said.err.contains(expected), "{}", said.err);
    let ignored = configuration("ValidatingWebhookConfiguration", &hook, "Ignore");
    cluster.client.update(&gvr::VALIDATING_WEBHOOKS, "", ignored).await.unwrap();
    cluster.output("create configmap c").await;
}

const BOTH: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// A configuration of one webhook for some operations on some resources.
fn rule(kind: &str, name: &str, hook: &Hook, operations: &[&str], resource: &str) -> Value {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    json!({"kind": kind, "metadata": {"name": name}, "webhooks": [{
        "name": format!("{name}.hooks.example"),
        "clientConfig": {"url": format!("https://localhost:{}/", hook.port), "caBundle": hook.bundle},
        "rules": [{"operations": operations, "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
    }]})
}

async fn register(cluster: &Cluster, configuration: Value) {
    let kind = if configuration["kind"] == BOTH[0] { &gvr::MUTATING_WEBHOOKS } else { &gvr::VALIDATING_WEBHOOKS };
    cluster.client.create(kind, "", configuration).await.unwrap();
}

fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_connections_are_asked_about_too() {
    let cluster = Cluster::start().await;
    let hook = start(|_| {
        json!({"allowed": false, "warnings": ["think again"], "status": {
        "code": 409, "reason": "Conflict", "message": "still needed", "details": {"causes": [{"message": "x"}]}}})
    })
    .await;
    for kind in BOTH {
        register(&cluster, rule(kind, "all", &hook, &["DELETE"], "configmaps")).await;
    }
    cluster.output("create configmap c --from-literal=a=1").await;
    let said = cluster.kubectl("delete configmap c").await;
    let expected =
        "Error from server (Conflict): admission webhook \"all.hooks.example\" denied the request: still needed";
    assert!(said.err.contains(expected) && said.err.contains("Warning: think again"), "{}", said.err);
    let seen = hook.take_seen();
    assert_eq!(seen.len(), 1, "the mutating one refuses first");
    assert_eq!((&seen[0]["operation"], &seen[0]["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(seen[0]["oldObject"]["data"], json!({"a": "1"}));
    assert_eq!(seen[0]["options"]["kind"], "DeleteOptions");

    register(&cluster, rule(BOTH[1], "exec", &hook, &["CONNECT"], "pods/exec")).await;
    cluster.output("run p --image=i").await;
    let said = cluster.kubectl("exec p -c p -- ls /").await;
    assert!(said.err.contains("\"exec.hooks.example\" denied the request: still needed"), "{}", said.err);
    let seen = hook.take_seen();
    assert_eq!(seen[0]["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
    assert_eq!((&seen[0]["subResource"], &seen[0]["object"]["command"]), (&json!("exec"), &json!(["ls", "/"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_are_asked_about_as_what_they_are() {
    let cluster = Cluster::start().await;
    let hook = start(|request| {
        if request["object"]["spec"]["replicas"] == 9 {
            return json!({"allowed": false, "status": {"message": "too many"}});
        }
        json!({"allowed": true})
    })
    .await;
    register(&cluster, rule(BOTH[1], "scale", &hook, &["UPDATE"], "deployments/scale.apps")).await;
    cluster.output("create deployment d --image=i").await;
    cluster.output("scale deployment d --replicas=2").await;
    let seen = hook.take_seen();
    assert_eq!(seen[0]["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(seen[0]["oldObject"]["spec"]["replicas"], 1);
    assert_eq!(cluster.output("get deploy d -o jsonpath={.spec.replicas}").await, "2");
    let refused = cluster.kubectl("scale deployment d --replicas=9").await;
    assert!(refused.err.contains("denied the request: too many"), "{}", refused.err);
    cluster.output("annotate deployment d a=b").await;
    assert_eq!(hook.take_seen().len(), 1, "the deployment itself is none of its business");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_is_given_up_after_its_timeout() {
    let cluster = Cluster::start().await;
    let hook = start(|_| Value::Null).await;
    let mut slow = rule(BOTH[0], "slow", &hook, &["CREATE"], "configmaps");
    slow["webhooks"][0]["timeoutSeconds"] = 1.into();
    register(&cluster, slow).await;
    let said = cluster.kubectl("create configmap c").await;
    let expected = format!(
        "Internal error occurred: failed calling webhook \"slow.hooks.example\": failed to call webhook: Post \
         \"https://localhost:{}/?timeout=1s\": context deadline exceeded",
        hook.port
    );
    assert!(said.err.contains(&expected), "{}", said.err);
    cluster
        .output(
            "patch mutatingwebhookconfiguration slow --type=json -p \
        [{\"op\":\"replace\",\"path\":\"/webhooks/0/failurePolicy\",\"value\":\"Ignore\"}]",
        )
        .await;
    cluster.output("create configmap c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_adds_is_seen_by_those_that_want_to_know() {
    let cluster = Cluster::start().await;
    // The first counts containers; the second adds one, which the first then counts again.
    let counting = start(|request| {
        let count = request["object"]["spec"]["containers"].as_array().unwrap().len().to_string();
        patch(&json!([{"op": "add", "path": "/metadata/annotations", "value": {"containers": count}}]))
    })
    .await;
    let adding = start(|request| {
        let container = json!({"name": "added", "image": "i"});
        assert_eq!(request["object"]["spec"]["containers"].as_array().unwrap().len(), 1, "asked only once");
        patch(&json!([{"op": "add", "path": "/spec/containers/-", "value": container}]))
    })
    .await;
    let mut first = rule(BOTH[0], "a", &counting, &["CREATE"], "pods");
    first["webhooks"][0]["reinvocationPolicy"] = "IfNeeded".into();
    register(&cluster, first).await;
    register(&cluster, rule(BOTH[0], "b", &adding, &["CREATE"], "pods")).await;
    cluster.output("run p --image=i").await;
    assert_eq!((counting.take_seen().len(), adding.take_seen().len()), (2, 1));
    assert_eq!(cluster.output("get pod p -o jsonpath={.metadata.annotations.containers}").await, "2");
    let mounts = cluster.output("get pod p -o jsonpath={.spec.containers[1].volumeMounts[0].mountPath}").await;
    assert_eq!(mounts, "/var/run/secrets/kubernetes.io/serviceaccount", "the added container gets its token");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_reach_only_webhooks_that_allow_them() {
    let cluster = Cluster::start().await;
    let hook = start(|_| json!({"allowed": true})).await;
    register(&cluster, rule(BOTH[1], "dry", &hook, &["CREATE"], "configmaps")).await;
    cluster.output("create configmap c --dry-run=server").await;
    assert_eq!(hook.take_seen()[0]["dryRun"], true);
    assert!(!cluster.kubectl("get configmap c").await.ok);
    let refused = rule(BOTH[1], "wet", &hook, &["CREATE"], "configmaps").to_string().replace("\"None\"", "\"Some\"");
    let refused = serde_json::from_str(&refused).unwrap();
    let refused = cluster.client.create(&gvr::VALIDATING_WEBHOOKS, "", refused).await.unwrap_err();
    let expected = "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"";
    assert!(refused.message.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_that_break_the_object_are_refused() {
    let cluster = Cluster::start().await;
    let hook = start(|request| match request["name"].as_str().unwrap() {
        "invalid" => patch(&json!([{"op": "add", "path": "/data", "value": {"a b": "1"}}])),
        "mistyped" => patch(&json!([{"op": "add", "path": "/data", "value": 7}])),
        "moved" => patch(&json!([{"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}])),
        "absent" => patch(&json!([{"op": "remove", "path": "/data/nothing"}])),
        _ => json!({"allowed": true, "patch": "e30="}),
    })
    .await;
    register(&cluster, rule(BOTH[0], "break", &hook, &["CREATE"], "configmaps")).await;
    for (name, expected) in [
        ("invalid", "ConfigMap \"invalid\" is invalid: data[a b]: Invalid value: \"a b\""),
        ("mistyped", "Internal error occurred"),
        ("moved", "the namespace of the provided object does not match the namespace sent on the request"),
        ("absent", "Internal error occurred"),
        ("typeless", "webhook returned response.patch but not response.patchType"),
    ] {
        let said = cluster.kubectl(&format!("create configmap {name}")).await;
        assert!(!said.ok && said.err.contains(expected), "{name}: {}", said.err);
        assert!(!cluster.kubectl(&format!("get configmap {name}")).await.ok, "{name}");
    }
}

const THINGS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, kind: Thing}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: &any {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: *any}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_sees_other_versions_as_its_own_unless_it_is_exact() {
    let cluster = Cluster::start().await;
    cluster.apply(THINGS).await;
    let hook = start(|_| json!({"allowed": true})).await;
    register(&cluster, rule(BOTH[1], "any", &hook, &["CREATE"], "things.example.com")).await;
    let mut exact = rule(BOTH[1], "exact", &hook, &["CREATE"], "things.example.com");
    exact["webhooks"][0]["matchPolicy"] = "Exact".into();
    register(&cluster, exact).await;
    cluster.apply("{apiVersion: example.com/v2, kind: Thing, metadata: {name: t}, size: 3}").await;
    let seen = hook.take_seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["kind"], json!({"group": "example.com", "version": "v1", "kind": "Thing"}));
    assert_eq!(seen[0]["requestKind"]["version"], "v2");
    assert_eq!((&seen[0]["object"]["apiVersion"], &seen[0]["object"]["size"]), (&json!("example.com/v1"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_say_what_a_webhook_is_asked_about() {
    let cluster = Cluster::start().await;
    let hook = start(|_| json!({"allowed": true})).await;
    let conditioned = |name: &str, expression: &str| {
        let mut configuration = rule(BOTH[1], name, &hook, &["CREATE"], "configmaps");
        let admins = json!({"name": "admins", "expression": "request.userInfo.username == 'kubernetes-admin'"});
        configuration["webhooks"][0]["matchConditions"] = json!([admins, {"name": "it", "expression": expression}]);
        configuration
    };
    register(&cluster, conditioned("big", "has(object.data) && size(object.data) > 1")).await;
    cluster.output("create configmap small --from-literal=a=1").await;
    assert_eq!(hook.take_seen().len(), 0);
    cluster.output("create configmap big --from-literal=a=1 --from-literal=b=2").await;
    assert_eq!(hook.take_seen().len(), 1);
    let broken =
        cluster.client.create(&gvr::VALIDATING_WEBHOOKS, "", conditioned("bad", "objekt.x")).await.unwrap_err();
    let expected = "webhooks[0].matchConditions[1].expression: Invalid value: \"objekt.x\": compilation failed: ";
    assert!(broken.message.contains(expected), "{broken}");

    register(&cluster, conditioned("failing", "object.spec.missing == 1")).await;
    let said = cluster.kubectl("create configmap c").await;
    assert!(said.err.contains("expression 'object.spec.missing == 1' resulted in error: "), "{}", said.err);
    cluster
        .output(
            "patch validatingwebhookconfiguration failing --type=json -p \
        [{\"op\":\"replace\",\"path\":\"/webhooks/0/failurePolicy\",\"value\":\"Ignore\"}]",
        )
        .await;
    cluster.output("create configmap c").await;
    assert_eq!(hook.take_seen().len(), 0);
}
