//! ValidatingAdmissionPolicies as their writers and those they judge meet them.

use lateen_apiserver::gvr;
use serde_json::json;

use crate::cluster::Cluster;

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: teams.example.com}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}
    excludeResourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: ["*"], resources: [configmaps], resourceNames: [teams]}
  matchConditions:
  - {name: labelled, expression: "has(object.metadata.labels) && 'team' in object.metadata.labels"}
  variables:
  - {name: team, expression: "object.metadata.labels['team']"}
  - {name: allowed, expression: "params.data.teams.split(',')"}
  validations:
  - expression: "variables.team in variables.allowed"
    messageExpression: "'team ' + variables.team + ' is none of ' + params.data.teams"
    reason: Forbidden
  - expression: "!has(object.data) || object.data.all(k, k.size() < 4)"
"#;

fn binding(actions: &str) -> String {
    format!(
        r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: teams}}
spec:
  policyName: teams.example.com
  paramRef: {{name: teams, parameterNotFoundAction: Deny}}
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: default}}}}}}
  validationActions: [{actions}]
"
    )
}

fn map(namespace: &str, name: &str, team: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{team: {team}}}}}\n\
         data: {{{key}: b}}"
    )
}

async fn refused(cluster: &Cluster, manifest: &str) -> String {
    let said = cluster.kubectl_with(&["apply", "-f", "-"], manifest).await;
    assert!(!said.ok, "accepted: {manifest}");
    said.err
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_judge_what_their_bindings_name() {
    let cluster = Cluster::start().await;
    cluster.apply(POLICY).await;
    cluster.apply(&map("default", "before", "green", "a")).await;
    cluster.apply(&binding("Deny")).await;
    let table = cluster.output("get validatingadmissionpolicies").await;
    assert!(table.contains("teams.example.com   2             v1/ConfigMap"), "{table}");

    let said = refused(&cluster, &map("default", "m", "red", "a")).await;
    assert!(said.contains("failed to configure binding: no params found for policy binding"), "{said}");
    cluster.output("create configmap teams --from-literal=teams=red,blue").await;

    cluster.apply(&map("default", "m", "red", "a")).await;
    let said = refused(&cluster, &map("default", "other", "green", "a")).await;
    assert!(
        said.contains(
            "Error from server (Forbidden): error when creating \"STDIN\": configmaps \"other\" is forbidden: \
             ValidatingAdmissionPolicy 'teams.example.com' with binding 'teams' denied request: team green is none of \
             red,blue"
        ),
        "{said}"
    );
    let said = refused(&cluster, &map("default", "m", "red", "long-key")).await;
    assert!(said.contains("denied request: failed expression: !has(object.data)"), "{said}");
    // Another namespace, no label: not what the binding and the policy are about.
    cluster.output("create namespace elsewhere").await;
    cluster.apply(&map("elsewhere", "other", "green", "long-key")).await;
    cluster.output("create configmap plain --from-literal=long-key=b").await;
    // What was there before the policy is judged when it changes.
    let said = cluster.kubectl("annotate configmap before a=b").await;
    assert!(said.err.contains("team green is none of"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_may_only_warn() {
    let cluster = Cluster::start().await;
    cluster.output("create configmap teams --from-literal=teams=red,blue").await;
    cluster.apply(POLICY).await;
    cluster.apply(&binding("Warn")).await;
    let said = cluster.kubectl_with(&["apply", "-f", "-"], &map("default", "other", "green", "a")).await;
    assert!(said.ok, "{}", said.err);
    assert!(
        said.err.contains(
            "Warning: Validation failed for ValidatingAdmissionPolicy 'teams.example.com' with binding 'teams': team green"
        ),
        "{}",
        said.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_that_fail_count_as_the_policy_says() {
    let cluster = Cluster::start().await;
    cluster.output("create configmap teams --from-literal=teams=red,blue").await;
    let broken = POLICY.replace("object.metadata.labels['team']\"}", "object.metadata.labels['group']\"}");
    cluster.apply(&broken).await;
    cluster.apply(&binding("Deny")).await;
    let said = refused(&cluster, &map("default", "other", "red", "a")).await;
    let expected = "expression 'variables.team in variables.allowed' resulted in error: composited variable \"team\" \
                    fails to evaluate: no such key: group";
    assert!(said.contains(expected), "{said}");
    cluster.apply(&broken.replace("spec:\n", "spec:\n  failurePolicy: Ignore\n")).await;
    cluster.apply(&map("default", "other", "red", "a")).await;

    let said = refused(&cluster, &POLICY.replace("variables.team in", "variable.team in")).await;
    assert!(
        said.contains("spec.validations[0].expression: Invalid value: ")
            && said.contains("undeclared reference to 'variable'"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_judged_by_the_old_object() {
    let cluster = Cluster::start().await;
    cluster
        .apply(
            r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: keep}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: ["*"], operations: [DELETE], resources: [secrets]}]
  validations: [{expression: "oldObject.metadata.name != 'precious' || request.userInfo.username == 'root'", message: it is precious}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: keep}
spec: {policyName: keep, validationActions: [Deny]}
"#,
        )
        .await;
    for name in ["precious", "cheap"] {
        cluster.client.create(&gvr::SECRETS, "default", json!({"metadata": {"name": name}})).await.unwrap();
    }
    cluster.output("delete secret cheap").await;
    let said = cluster.kubectl("delete secret precious").await;
    let expected = "The secrets \"precious\" is invalid: : ValidatingAdmissionPolicy 'keep' with binding 'keep' denied \
                    request: it is precious";
    assert!(said.err.contains(expected), "{}", said.err);
    cluster.output("delete secret precious --as=root --as-group=system:masters").await;
}
