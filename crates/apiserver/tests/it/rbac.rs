//! Who may do what, as `kubectl` finds out.

use lateen_apiserver::{Gvr, auth::User, gvr};
use serde_json::json;

use crate::cluster::{Cluster, Said};

const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules:
- {apiGroups: [''], resources: [pods, pods/log], verbs: [get, list, watch]}
- {apiGroups: [''], resources: [configmaps], resourceNames: [mine], verbs: [get, list, delete]}
- {apiGroups: [apps], resources: [deployments/scale], verbs: [get, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: User, name: jane, apiGroup: rbac.authorization.k8s.io}
- {kind: ServiceAccount, name: robot, namespace: default}
";

async fn as_user(cluster: &Cluster, user: &str, words: &str) -> Said {
    cluster.kubectl(&format!("--as={user} {words}")).await
}

/// `kubectl auth can-i`, which says no with an exit code too.
async fn can(cluster: &Cluster, user: &str, words: &str) -> bool {
    as_user(cluster, user, &format!("auth can-i {words}")).await.out == "yes\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn users_may_do_what_their_roles_say_and_nothing_else() {
    let cluster = Cluster::start().await;
    let refused = as_user(&cluster, "jane", "get pods").await;
    assert_eq!(
        refused.err,
        "Error from server (Forbidden): pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \
         \"\" in the namespace \"default\"\n"
    );
    cluster.apply(ROLES).await;
    cluster.output("create configmap mine").await;
    cluster.output("create configmap other").await;
    assert!(as_user(&cluster, "jane", "get pods").await.ok);
    let robot = "system:serviceaccount:default:robot";
    assert!(as_user(&cluster, robot, "get pods").await.ok);
    let refusals = [
        ("get pods -n kube-system", "cannot list resource \"pods\" in API group \"\" in the namespace \"kube-system\""),
        ("get pods -A", "cannot list resource \"pods\" in API group \"\" at the cluster scope"),
        ("delete pod p", "pods \"p\" is forbidden: User \"jane\" cannot delete resource \"pods\""),
        ("get configmap other", "configmaps \"other\" is forbidden: User \"jane\" cannot get resource \"configmaps\""),
        ("get configmaps", "cannot list resource \"configmaps\""),
        ("delete --raw /api/v1/namespaces/default/pods", "cannot deletecollection resource \"pods\""),
        (
            "get nodes",
            "nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster",
        ),
        ("get --raw /metrics", "forbidden: User \"jane\" cannot get path \"/metrics\""),
    ];
    for (words, expected) in refusals {
        let said = as_user(&cluster, "jane", words).await;
        assert!(!said.ok && said.err.contains(expected), "{words}: {}{}", said.out, said.err);
    }
    assert!(as_user(&cluster, "jane", "get configmap mine").await.ok);
    assert!(as_user(&cluster, "jane", "get configmaps --field-selector metadata.name=mine").await.ok);
    assert!(as_user(&cluster, "jane", "delete configmap mine --wait=false").await.ok);
    cluster.output("delete rolebinding readers").await;
    assert!(!as_user(&cluster, "jane", "get pods").await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_have_rights_of_their_own() {
    let cluster = Cluster::start().await;
    cluster.apply(ROLES).await;
    for (words, expected) in [
        ("get pods --subresource=log", true),
        ("create pods --subresource=exec", false),
        ("patch deployments.apps --subresource=scale", true),
        ("patch deployments.apps", false),
        ("get pods/any", true),
        ("get /healthz", true),
        ("get /metrics", false),
    ] {
        assert_eq!(can(&cluster, "jane", words).await, expected, "{words}");
    }
    let manifest = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, \
        template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";
    cluster.apply(manifest).await;
    let scaled = as_user(&cluster, "jane", "scale deployment d --replicas=3").await;
    assert!(scaled.err.contains("deployments.apps \"d\" is forbidden"), "it is read first: {}", scaled.err);
    let patch = r#"patch deployment d --subresource=scale --type=merge -p {"spec":{"replicas":3}}"#;
    let patched = as_user(&cluster, "jane", patch).await;
    assert!(patched.ok, "{}", patched.err);
    assert_eq!(cluster.output("get deploy d -o jsonpath={.spec.replicas}").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_rights_are_answered() {
    let cluster = Cluster::start().await;
    cluster.apply(ROLES).await;
    let list = as_user(&cluster, "jane", "auth can-i --list").await.out;
    for line in ["pods                                            []", "[/healthz]", "[mine]"] {
        assert!(list.contains(line), "{line}\n{list}");
    }
    let whoami = as_user(&cluster, "jane", "auth whoami --as-group=dev").await.out;
    assert!(whoami.contains("jane") && whoami.contains("[dev system:authenticated]"), "{whoami}");
    let ask = async |kind: &str, namespace: &str, question: serde_json::Value| {
        let kind = Gvr::new("authorization.k8s.io", "v1", kind);
        cluster.client.create(&kind, namespace, question).await
    };
    let list_pods = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let question = json!({"spec": {"user": "jane", "resourceAttributes": list_pods}});
    let status = ask("subjectaccessreviews", "", question.clone()).await.unwrap()["status"].clone();
    let reason = "RBAC: allowed by RoleBinding \"readers/default\" of Role \"reader\" to User \"jane\"";
    assert_eq!(status, json!({"allowed": true, "reason": reason}));
    assert!(ask("localsubjectaccessreviews", "default", question.clone()).await.is_ok());
    let elsewhere = ask("localsubjectaccessreviews", "kube-system", question).await.unwrap_err();
    assert!(elsewhere.message.contains("must match metadata.namespace"), "{elsewhere}");
    let empty = ask("subjectaccessreviews", "", json!({"spec": {}})).await.unwrap_err();
    assert!(empty.message.contains("at least one of user or group must be specified"), "{empty}");
    assert!(empty.message.contains("exactly one of nonResourceAttributes or resourceAttributes"), "{empty}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_roles_are_named_in_the_refusal() {
    let cluster = Cluster::start().await;
    cluster.output("create clusterrolebinding b --clusterrole=ghost --user=jane").await;
    let said = as_user(&cluster, "jane", "get pods").await;
    let expected = "in the namespace \"default\": RBAC: clusterrole.rbac.authorization.k8s.io \"ghost\" not found";
    assert!(said.err.contains(expected), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_roles_are_there_and_others_join_them() {
    let cluster = Cluster::start().await;
    for (role, yes, no) in [
        ("view", "list deployments.apps", "get secrets"),
        ("edit", "create pods --subresource=exec", "create rolebindings.rbac.authorization.k8s.io"),
        ("admin", "create rolebindings.rbac.authorization.k8s.io", "create clusterroles.rbac.authorization.k8s.io"),
    ] {
        cluster.output(&format!("create rolebinding {role} --clusterrole={role} --user={role}")).await;
        assert!(can(&cluster, role, yes).await, "{role} {yes}");
        assert!(can(&cluster, role, "get pods").await, "{role}");
        assert!(!can(&cluster, role, no).await, "{role} {no}");
        assert!(!can(&cluster, role, "get pods -n kube-system").await, "{role}");
    }
    assert!(!can(&cluster, "view", "fly pods").await);
    let part = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: flying, labels: \
        {rbac.authorization.k8s.io/aggregate-to-view: 'true'}}, \
        rules: [{apiGroups: [''], resources: [pods], verbs: [fly]}]}";
    cluster.apply(part).await;
    for role in ["view", "edit", "admin"] {
        assert!(can(&cluster, role, "fly pods").await, "{role}");
    }
    cluster.output("delete clusterrole flying").await;
    assert!(!can(&cluster, "admin", "fly pods").await);
    let label = "get clusterrole cluster-admin -o jsonpath={.metadata.labels.kubernetes\\.io/bootstrapping}";
    assert_eq!(cluster.output(label).await, "rbac-defaults");
    let bindings = cluster.output("get clusterrolebindings -o wide").await;
    assert!(bindings.contains("ClusterRole/system:discovery"), "{bindings}");
    assert!(bindings.contains("system:authenticated, system:unauthenticated"), "{bindings}");
    let described = cluster.output("describe clusterrole view").await;
    assert!(described.contains("configmaps") && described.contains("[get list watch]"), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_away_more_than_they_hold() {
    let cluster = Cluster::start().await;
    cluster.output("create rolebinding a --clusterrole=admin --user=ann").await;
    let role = "create role r --verb=get --resource=";
    assert!(as_user(&cluster, "ann", &format!("{role}pods")).await.ok);
    let refused = as_user(&cluster, "ann", "create role more --verb=get,list --resource=nodes").await;
    assert_eq!(
        refused.err,
        "Error from server (Forbidden): roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" \
         (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}\n"
    );
    let binding = "create rolebinding b --clusterrole=cluster-admin --user=ann";
    let refused = as_user(&cluster, "ann", binding).await;
    assert!(refused.err.contains("{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"), "{}", refused.err);
    assert!(as_user(&cluster, "ann", "create rolebinding v --clusterrole=view --user=bob").await.ok);
    let ghost = as_user(&cluster, "ann", "create rolebinding g --clusterrole=ghost --user=bob").await;
    assert!(ghost.err.contains("clusterrole.rbac.authorization.k8s.io \"ghost\" not found"), "{}", ghost.err);

    cluster.output("create clusterrole binder --verb=bind --resource=clusterroles --resource-name=cluster-admin").await;
    cluster.output("create clusterrolebinding binder --clusterrole=binder --user=ann").await;
    assert!(as_user(&cluster, "ann", binding).await.ok);
    cluster.output("create clusterrole escalator --verb=escalate,create,update,get --resource=clusterroles").await;
    cluster.output("create clusterrolebinding escalator --clusterrole=escalator --user=eve").await;
    assert!(as_user(&cluster, "eve", "create clusterrole any --verb=* --resource=*").await.ok);

    cluster.output("create clusterrole writer --verb=create,update --resource=clusterroles").await;
    cluster.output("create clusterrolebinding writer --clusterrole=writer --user=will").await;
    let gathers = as_user(&cluster, "will", "create clusterrole g --aggregation-rule=a=b").await;
    assert!(gathers.err.contains("must have cluster-admin privileges to use the aggregationRule"), "{}", gathers.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_some_may_act_as_others() {
    let cluster = Cluster::start().await;
    cluster.output("create clusterrole as-jane --verb=impersonate --resource=users --resource-name=jane").await;
    cluster.output("create clusterrolebinding ann --clusterrole=as-jane --serviceaccount=default:default").await;
    cluster.apply(ROLES).await;
    let token = cluster.output("create token default").await;
    let bare = cluster.bearer(token.trim());
    let ask = async |words: &str| {
        let words = words.split_whitespace().map(str::to_owned);
        let all: Vec<String> = bare.iter().cloned().chain(words).collect();
        cluster.kubectl_with(&all.iter().map(String::as_str).collect::<Vec<_>>(), "").await
    };
    let own = ask("get pods").await;
    assert!(own.err.contains("User \"system:serviceaccount:default:default\" cannot list"), "{}", own.err);
    assert!(ask("--as=jane get pods").await.ok);
    let other = ask("--as=bob get pods").await;
    let expected = "users \"bob\" is forbidden: User \"system:serviceaccount:default:default\" cannot impersonate \
                    resource \"users\" in API group \"\" at the cluster scope";
    assert!(other.err.contains(expected), "{}", other.err);
    let group = ask("--as=jane --as-group=system:masters get pods").await;
    assert!(group.err.contains("groups \"system:masters\" is forbidden"), "{}", group.err);
    assert!(as_user(&cluster, "anybody", "--as-group=system:masters get nodes").await.ok);
    let nobody = as_user(&cluster, "system:anonymous", "get pods").await;
    assert!(nobody.err.contains("User \"system:anonymous\" cannot list resource \"pods\""), "{}", nobody.err);
    assert!(as_user(&cluster, "system:anonymous", "get --raw /version").await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_makes_and_widens_roles() {
    let cluster = Cluster::start().await;
    let reconcile = async |manifest: &str| {
        let said = cluster.kubectl_with(&["auth", "reconcile", "-f", "-"], manifest).await;
        assert!(said.ok, "{}", said.err);
        said.out
    };
    reconcile(ROLES).await;
    assert!(can(&cluster, "jane", "get pods").await);
    let widened = reconcile(&ROLES.replace("[pods, pods/log]", "[services]").replace("name: jane", "name: joe")).await;
    assert!(widened.contains("role.rbac.authorization.k8s.io/reader reconciled"), "{widened}");
    for (user, words) in [("jane", "get pods"), ("joe", "get services"), ("joe", "list pods")] {
        assert!(can(&cluster, user, words).await, "{user} {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_roles_and_bindings_are_refused() {
    let cluster = Cluster::start().await;
    cluster.apply(ROLES).await;
    let cases = [
        (
            ROLES.replace("verbs: [get, patch]", "verbs: []"),
            "rules[2].verbs: Required value: verbs must contain at least one value",
        ),
        (
            ROLES.replace("kind: Role, name: reader", "kind: ClusterRole, name: view"),
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\
             \"name\":\"view\"}: cannot change roleRef",
        ),
        (ROLES.replace("kind: User", "kind: Robot"), "subjects[0].kind: Unsupported value: \"Robot\""),
    ];
    for (manifest, expected) in cases {
        let said = cluster.kubectl_with(&["apply", "-f", "-"], &manifest).await;
        assert!(!said.ok && said.err.contains(expected), "{expected}\n{}", said.err);
    }
}

/// Components in this process pass the same check as everybody else.
#[tokio::test]
async fn components_hold_the_roles_that_are_meant_for_them() {
    let cluster = Cluster::start().await;
    let node = cluster.client.as_user(User::member("system:node:n", &["system:nodes"]));
    assert!(node.list(&gvr::PODS, None).await.is_ok());
    let refused = node.create(&gvr::DEPLOYMENTS, "default", json!({})).await.unwrap_err();
    assert_eq!(
        refused.message,
        "deployments.apps is forbidden: User \"system:node:n\" cannot create resource \"deployments\" in API group \
         \"apps\" in the namespace \"default\""
    );
}
