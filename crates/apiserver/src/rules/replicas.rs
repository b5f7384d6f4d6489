//! Deployments, ReplicaSets, StatefulSets and DaemonSets: pods of one template that always run.

use serde_json::{Value, json};

use super::workload::{int_or_percent, is_zero, not_negative, spec_of, validate_selected};
use super::{Errors, Rules, immutable, items, list, set_default, storage};
use crate::{object, status::FieldError};

fn same_selector(new: &Value, old: &Value, errors: &mut Errors) {
    immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"], errors);
}

/// Deployments.
pub struct Deployment;

impl Rules for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "progressDeadlineSeconds", 600);
        set_default(spec, "strategy", json!({}));
        let strategy = &mut spec["strategy"];
        set_default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            set_default(strategy, "rollingUpdate", json!({}));
            set_default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
            set_default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_selected(object, "deployment", &[], errors);
        let spec = &object["spec"];
        strategy(&spec["strategy"], errors);
        let (deadline, wait) = (&spec["progressDeadlineSeconds"], spec["minReadySeconds"].as_i64().unwrap_or(0));
        not_negative(deadline, "spec.progressDeadlineSeconds", errors);
        if deadline.as_i64().is_some_and(|deadline| deadline <= wait) {
            let text = "must be greater than minReadySeconds";
            errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, text));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        same_selector(new, old, errors);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn strategy(strategy: &Value, errors: &mut Errors) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str() {
        Some("RollingUpdate") => {
            let path = "spec.strategy.rollingUpdate";
            for field in ["maxUnavailable", "maxSurge"] {
                int_or_percent(&rolling[field], &format!("{path}.{field}"), errors);
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let text = "may not be 0 when `maxSurge` is 0";
                let field = format!("{path}.maxUnavailable");
                errors.push(FieldError::invalid(field, &rolling["maxUnavailable"], text));
            }
        }
        Some("Recreate") if !rolling.is_null() => errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        Some("Recreate") => {}
        _ => errors.push(FieldError::not_supported(
            "spec.strategy.type",
            &strategy["type"],
            &["Recreate", "RollingUpdate"],
        )),
    }
}

/// ReplicaSets.
pub struct ReplicaSet;

impl Rules for ReplicaSet {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_of(object) {
            set_default(spec, "replicas", 1);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0});
    }
    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_selected(object, "deployment", &[], errors);
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        same_selector(new, old, errors);
    }
    fn has_generation(&self) -> bool {
        true
    }
}

/// StatefulSets.
pub struct StatefulSet;

/// What may change in a StatefulSet's specification.
const STATEFUL_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Rules for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "podManagementPolicy", "OrderedReady");
        set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        set_default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            set_default(strategy, "rollingUpdate", json!({}));
            set_default(&mut strategy["rollingUpdate"], "partition", 0);
        }
        set_default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        for when in ["whenDeleted", "whenScaled"] {
            set_default(&mut spec["persistentVolumeClaimRetentionPolicy"], when, "Retain");
        }
        for claim in spec.get_mut("volumeClaimTemplates").into_iter().flat_map(items) {
            set_default(claim, "apiVersion", "v1");
            set_default(claim, "kind", "PersistentVolumeClaim");
            storage::default_claim_spec(&mut claim["spec"]);
            claim["status"] = json!({"phase": "Pending"});
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0, "availableReplicas": 0});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        let claims = list(&spec["volumeClaimTemplates"]);
        let names: Vec<&str> = claims.iter().filter_map(|c| c["metadata"]["name"].as_str()).collect();
        validate_selected(object, "statefulset", &names, errors);
        let policy = &spec["podManagementPolicy"];
        if policy != "OrderedReady" && policy != "Parallel" {
            let text = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid("spec.podManagementPolicy", policy, text));
        }
        stateful_strategy(&spec["updateStrategy"], errors);
        not_negative(&spec["ordinals"]["start"], "spec.ordinals.start", errors);
        for when in ["whenDeleted", "whenScaled"] {
            let value = &spec["persistentVolumeClaimRetentionPolicy"][when];
            if value != "Retain" && value != "Delete" {
                let field = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
                errors.push(FieldError::not_supported(field, value, &["Delete", "Retain"]));
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        let rest = |object: &Value| {
            let mut spec = object["spec"].clone();
            object::as_map(&mut spec).retain(|key, _| !STATEFUL_MUTABLE.contains(&key.as_str()));
            spec
        };
        if rest(new) != rest(old) {
            let text = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                        'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                        'minReadySeconds' are forbidden";
            errors.push(FieldError::forbidden("spec", text));
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn stateful_strategy(strategy: &Value, errors: &mut Errors) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str() {
        Some("RollingUpdate") => {
            not_negative(&rolling["partition"], "spec.updateStrategy.rollingUpdate.partition", errors);
        }
        Some("OnDelete") if !rolling.is_null() => {
            let text = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid("spec.updateStrategy.rollingUpdate", rolling, text));
        }
        Some("OnDelete") => {}
        _ => {
            let text = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid("spec.updateStrategy", &strategy["type"], text));
        }
    }
}

/// DaemonSets.
pub struct DaemonSet;

impl Rules for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        set_default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            set_default(strategy, "rollingUpdate", json!({}));
            set_default(&mut strategy["rollingUpdate"], "maxUnavailable", 1);
            set_default(&mut strategy["rollingUpdate"], "maxSurge", 0);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let annotations = object::map_at(&mut object["metadata"], "annotations");
        annotations.insert("deprecated.daemonset.template.generation".into(), "1".into());
        object["status"] = json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0,
            "desiredNumberScheduled": 0, "numberReady": 0,
        });
    }

    /// Counts changes of the template.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        const KEY: &str = "deprecated.daemonset.template.generation";
        let count: i64 = old["metadata"]["annotations"][KEY].as_str().and_then(|c| c.parse().ok()).unwrap_or(0);
        let changed = new["spec"]["template"] != old["spec"]["template"];
        let count = (count + i64::from(changed)).to_string();
        object::map_at(&mut new["metadata"], "annotations").insert(KEY.into(), count.into());
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_selected(object, "daemonset", &[], errors);
        let strategy = &object["spec"]["updateStrategy"];
        let rolling = &strategy["rollingUpdate"];
        let path = "spec.updateStrategy.rollingUpdate";
        match strategy["type"].as_str() {
            Some("RollingUpdate") => {
                for field in ["maxUnavailable", "maxSurge"] {
                    int_or_percent(&rolling[field], &format!("{path}.{field}"), errors);
                }
                match (is_zero(&rolling["maxUnavailable"]), is_zero(&rolling["maxSurge"])) {
                    (true, true) => {
                        let text = "cannot be 0 when maxSurge is 0";
                        errors.push(FieldError::required(format!("{path}.maxUnavailable"), text));
                    }
                    (false, false) => {
                        let text = "may not be set when maxUnavailable is non-zero";
                        errors.push(FieldError::invalid(format!("{path}.maxSurge"), &rolling["maxSurge"], text));
                    }
                    _ => {}
                }
            }
            Some("OnDelete") => {}
            _ => errors.push(FieldError::not_supported(
                "spec.updateStrategy.type",
                &strategy["type"],
                &["OnDelete", "RollingUpdate"],
            )),
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        same_selector(new, old, errors);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// What a StatefulSet or a DaemonSet was at some time.
pub struct ControllerRevision;

impl Rules for ControllerRevision {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        if object["data"].is_null() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        not_negative(&object["revision"], "revision", errors);
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("data", &new["data"], &old["data"], errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
        }});
        crate::patch::merge(&mut object["spec"], &spec);
        object
    }

    fn errors(rules: &dyn Rules, spec: Value) -> Vec<String> {
        let mut object = object(spec);
        rules.default(&mut object);
        let mut errors = Vec::new();
        rules.validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn errors_are_those_of_kubernetes() {
        let cases: [(&dyn Rules, Value, &str); 8] = [
            (
                &Deployment,
                json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ),
            (
                &Deployment,
                json!({"strategy": {"rollingUpdate": {"maxUnavailable": "150%"}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"150%\": must not be greater than 100%",
            ),
            (
                &Deployment,
                json!({"minReadySeconds": 600}),
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ),
            (
                &ReplicaSet,
                json!({"replicas": -1}),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                &StatefulSet,
                json!({"podManagementPolicy": "Any"}),
                "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                &StatefulSet,
                json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \
                 \"Delete\", \"Retain\"",
            ),
            (
                &DaemonSet,
                json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ),
            (
                &DaemonSet,
                json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}}),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is \
                 non-zero",
            ),
        ];
        for (rules, spec, text) in cases {
            assert_eq!(errors(rules, spec), [text]);
        }
        assert_eq!(errors(&StatefulSet, json!({})), [""; 0]);
        assert_eq!(errors(&DaemonSet, json!({})), [""; 0]);
    }

    #[test]
    fn little_of_a_stateful_set_may_change() {
        let change = |spec: Value| {
            let mut errors = Vec::new();
            StatefulSet.validate_update(&object(spec), &object(json!({})), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(change(json!({"replicas": 3, "minReadySeconds": 5})), [""; 0]);
        let text = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                    'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                    'minReadySeconds' are forbidden";
        assert_eq!(change(json!({"serviceName": "other"})), [text]);
    }

    #[test]
    fn a_daemon_set_counts_its_templates() {
        let count = |o: &Value| o["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
        let mut old = object(json!({}));
        DaemonSet.prepare_create(&mut old);
        assert_eq!(count(&old), "1");
        let mut same = old.clone();
        same["spec"]["minReadySeconds"] = json!(1);
        DaemonSet.prepare_update(&mut same, &old);
        assert_eq!(count(&same), "1");
        same["spec"]["template"]["metadata"]["labels"]["v"] = json!("2");
        DaemonSet.prepare_update(&mut same, &old);
        assert_eq!(count(&same), "2");
    }
}
