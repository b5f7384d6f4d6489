//! The roles and bindings that every cluster has from the start.

use serde_json::{Value, json};

use super::{GROUP, cover, rule::Rule};
use crate::object;

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const READ_WRITE: &str = "create delete deletecollection get list patch update watch";
const HEALTH: &str = "/healthz /livez /readyz /version /version/";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// A rule on resources of one group (`core` for the one without a name).
fn on(group: &str, resources: &str, verbs: &str) -> Value {
    let group = if group == "core" { "" } else { group };
    json!({"apiGroups": [group], "resources": words(resources), "verbs": words(verbs)})
}

fn paths(paths: &str) -> Value {
    json!({"nonResourceURLs": words(paths), "verbs": ["get"]})
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    })
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"metadata": metadata(name), "rules": rules})
}

/// A role whose rules become part of the one named `of`.
fn part(name: &str, of: &str, rules: Vec<Value>) -> Value {
    labelled(role(name, rules), of)
}

fn labelled(mut role: Value, of: &str) -> Value {
    role["metadata"]["labels"][aggregates_to(of)] = "true".into();
    role
}

fn aggregates_to(name: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{name}")
}

/// A role that is put together from parts.
fn whole(name: &str) -> Value {
    json!({
        "metadata": metadata(name),
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {aggregates_to(name): "true"}}]},
    })
}

/// The default ClusterRoles.
pub fn cluster_roles() -> Vec<Value> {
    let mut roles = public();
    roles.extend(for_people());
    roles.extend(for_components());
    roles
}

fn public() -> Vec<Value> {
    let discovery = format!("{HEALTH} /api /api/* /apis /apis/* /openapi /openapi/*");
    let issuer =
        "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/";
    let monitoring = "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*";
    vec![
        role("system:discovery", vec![paths(&discovery)]),
        role("system:public-info-viewer", vec![paths(HEALTH)]),
        role("system:monitoring", vec![paths(monitoring)]),
        role("system:service-account-issuer-discovery", vec![paths(issuer)]),
        role(
            "system:basic-user",
            vec![
                on("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
                on("authentication.k8s.io", "selfsubjectreviews", "create"),
            ],
        ),
    ]
}

fn for_people() -> Vec<Value> {
    let everything = vec![on("*", "*", "*"), json!({"nonResourceURLs": ["*"], "verbs": ["*"]})];
    let admin = vec![
        on("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        on(GROUP, "rolebindings roles", READ_WRITE),
    ];
    vec![
        role("cluster-admin", everything),
        part("system:aggregate-to-admin", "admin", admin),
        part("system:aggregate-to-edit", "edit", editing()),
        part("system:aggregate-to-view", "view", viewing()),
        whole("admin"),
        labelled(whole("edit"), "admin"),
        labelled(whole("view"), "edit"),
    ]
}

fn editing() -> Vec<Value> {
    let streams = "pods/attach pods/exec pods/portforward pods/proxy";
    let core = "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets \
                serviceaccounts services services/proxy";
    let apps = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
                statefulsets statefulsets/scale";
    vec![
        on("core", &format!("{streams} secrets services/proxy"), READ),
        on("core", "serviceaccounts", "impersonate"),
        on("core", &format!("pods {streams}"), WRITE),
        on("core", "pods/eviction", "create"),
        on("core", core, WRITE),
        on("core", "serviceaccounts/token", "create"),
        on("apps", apps, WRITE),
        on("autoscaling", "horizontalpodautoscalers", WRITE),
        on("batch", "cronjobs jobs", WRITE),
        on("policy", "poddisruptionbudgets", WRITE),
        on("networking.k8s.io", "ingresses networkpolicies", WRITE),
        on("coordination.k8s.io", "leases", READ_WRITE),
    ]
}

fn viewing() -> Vec<Value> {
    let core = "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers \
                replicationcontrollers/scale serviceaccounts services services/status";
    let states = "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status \
                  resourcequotas resourcequotas/status";
    let apps = "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
                replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status";
    vec![
        on("core", core, READ),
        on("core", states, READ),
        on("core", "namespaces", READ),
        on("discovery.k8s.io", "endpointslices", READ),
        on("apps", apps, READ),
        on("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
        on("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
        on("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
        on("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
    ]
}

fn for_components() -> Vec<Value> {
    let reviews = || {
        vec![
            on("authentication.k8s.io", "tokenreviews", "create"),
            on("authorization.k8s.io", "subjectaccessreviews", "create"),
        ]
    };
    let discovery = || on("discovery.k8s.io", "endpointslices", "list watch");
    vec![
        role("system:auth-delegator", reviews()),
        role("system:kube-controller-manager", controlling()),
        role("system:node", node(reviews())),
        role(
            "system:node-proxier",
            vec![
                on("core", "endpoints services", "list watch"),
                on("core", "nodes", READ),
                discovery(),
                on("core", "events", "create patch update"),
                on("events.k8s.io", "events", "create patch update"),
            ],
        ),
        role("system:kube-dns", vec![on("core", "endpoints services", "list watch"), discovery()]),
    ]
}

/// The controllers see and tidy up everything (garbage collection, namespaces that go away), but
/// make only what they are there for.
fn controlling() -> Vec<Value> {
    let made = "configmaps endpoints persistentvolumeclaims persistentvolumes pods pods/binding pods/eviction \
                secrets serviceaccounts serviceaccounts/token";
    vec![
        on("*", "*", "get list watch update patch delete deletecollection"),
        on("core", made, "create"),
        on("core", "events", "create"),
        on("events.k8s.io", "events", "create"),
        on("apps", "controllerrevisions replicasets", "create"),
        on("batch", "jobs", "create"),
        on("discovery.k8s.io", "endpointslices", "create"),
        on("coordination.k8s.io", "leases", "create"),
        on("storage.k8s.io", "storageclasses", "create"),
    ]
}

fn node(mut rules: Vec<Value>) -> Vec<Value> {
    rules.extend([
        on("core", "services", READ),
        on("core", "nodes", "create get list watch update patch"),
        on("core", "nodes/status", "patch update"),
        on("core", "events", "create get patch update"),
        on("core", "pods", "create delete get list watch"),
        on("core", "pods/status", "get patch update"),
        on("core", "pods/eviction", "create"),
        on("core", "configmaps secrets", READ),
        on("core", "persistentvolumeclaims persistentvolumes", "get"),
        on("core", "persistentvolumeclaims/status", "get patch update"),
        on("core", "serviceaccounts/token", "create"),
        on("coordination.k8s.io", "leases", "create delete get patch update"),
    ]);
    rules
}

/// The default ClusterRoleBindings.
pub fn cluster_role_bindings() -> Vec<Value> {
    let group = |name: &str| json!({"apiGroup": GROUP, "kind": "Group", "name": name});
    let user = |name: &str| json!({"apiGroup": GROUP, "kind": "User", "name": name});
    let known = || group(super::AUTHENTICATED);
    let dns = json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": "kube-dns"});
    let bindings = [
        ("cluster-admin", vec![group(super::MASTERS)]),
        ("system:discovery", vec![known()]),
        ("system:basic-user", vec![known()]),
        ("system:public-info-viewer", vec![known(), group(super::UNAUTHENTICATED)]),
        ("system:monitoring", vec![group("system:monitoring")]),
        ("system:service-account-issuer-discovery", vec![group("system:serviceaccounts")]),
        ("system:kube-controller-manager", vec![user("system:kube-controller-manager")]),
        ("system:node", vec![group("system:nodes")]),
        ("system:node-proxier", vec![user("system:kube-proxy")]),
        ("system:kube-dns", vec![dns]),
    ];
    let binding = |(name, subjects): (&str, Vec<Value>)| {
        let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name});
        json!({"metadata": metadata(name), "roleRef": role, "subjects": subjects})
    };
    bindings.into_iter().map(binding).collect()
}

/// What a default role or binding that is there already lacks, filled in; none where it lacks
/// nothing or its annotation says that it is to be left alone.
pub fn repaired(found: &Value, wanted: &Value) -> Option<Value> {
    if object::annotations(found).is_some_and(|a| a.get(AUTOUPDATE).is_some_and(|v| v == "false")) {
        return None;
    }
    let mut repaired = found.clone();
    for field in ["labels", "annotations"] {
        let map = object::map_at(&mut repaired["metadata"], field);
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let held = Rule::parse_all(found);
    let lacking = cover::compact(cover::missing(&held, &Rule::parse_all(wanted)));
    append(&mut repaired, "rules", lacking.iter().map(Rule::to_value));
    let subjects = wanted["subjects"].as_array().into_iter().flatten();
    let has = |subject: &&Value| found["subjects"].as_array().is_some_and(|has| has.contains(*subject));
    append(&mut repaired, "subjects", subjects.filter(|s| !has(s)).cloned());
    if wanted["aggregationRule"].is_object() {
        repaired["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    (repaired != *found).then_some(repaired)
}

fn append(object: &mut Value, field: &str, items: impl Iterator<Item = Value>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let list = object::as_map(object).entry(field).or_insert(Value::Null);
    let mut all = list.as_array().cloned().unwrap_or_default();
    all.extend(items);
    *list = all.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_roles_get_back_what_they_lack_and_keep_what_they_have() {
        let wanted = role("r", vec![on("core", "pods", "get list")]);
        let mut found = wanted.clone();
        assert_eq!(repaired(&found, &wanted), None);
        found["rules"] = json!([on("core", "pods", "get"), on("apps", "deployments", "get")]);
        let whole = repaired(&found, &wanted).unwrap();
        let missing = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]});
        assert_eq!(whole["rules"], json!([found["rules"][0], found["rules"][1], missing]));
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(repaired(&found, &wanted), None);
    }

    #[test]
    fn every_default_binding_names_a_default_role() {
        let roles = cluster_roles();
        for binding in cluster_role_bindings() {
            let name = &binding["roleRef"]["name"];
            assert!(roles.iter().any(|role| role["metadata"]["name"] == *name), "{name}");
        }
    }
}
