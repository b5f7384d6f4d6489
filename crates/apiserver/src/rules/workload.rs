//! Deployments, ReplicaSets and the other kinds that carry a pod template.

use serde_json::{Value, json};

use super::{Errors, Rules, immutable, list, metadata, pod, set_default};
use crate::{selector::LabelSelector, status::FieldError};

fn default_template(template: &mut Value) {
    if let Some(spec) = template.get_mut("spec").filter(|s| s.is_object()) {
        pod::default_spec(spec);
    }
}

/// The specification, its pod template already defaulted.
fn spec_of(object: &mut Value) -> Option<&mut Value> {
    let spec = object.get_mut("spec").filter(|s| s.is_object())?;
    if let Some(template) = spec.get_mut("template") {
        default_template(template);
    }
    Some(spec)
}

fn validate_selected(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["replicas"].as_i64().is_some_and(|n| n < 0) {
        errors.push(FieldError::invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0"));
    }
    let selector = &spec["selector"];
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        metadata::selector(selector, "spec.selector", errors);
        if metadata::is_empty_selector(selector) {
            let text = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid("spec.selector", selector, text));
        }
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if let Ok(parsed) = LabelSelector::from_json(selector)
        && !selector.is_null()
        && !parsed.matches(labels.as_object())
    {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
    }
    let claims = list(&spec["volumeClaimTemplates"]).iter().filter_map(|c| c["metadata"]["name"].as_str());
    validate_template(&spec["template"], &claims.collect::<Vec<_>>(), errors);
    if spec["template"]["spec"]["restartPolicy"].as_str().is_some_and(|p| p != "Always") {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            &spec["template"]["spec"]["restartPolicy"],
            &["Always"],
        ));
    }
}

fn validate_template(template: &Value, claims: &[&str], errors: &mut Errors) {
    metadata::labels(&template["metadata"]["labels"], "spec.template.metadata.labels", errors);
    pod::validate_spec_with(&template["spec"], "spec.template.spec", claims, errors);
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
        validate_selected(object, errors);
        let strategy = &object["spec"]["strategy"];
        let allowed = ["Recreate", "RollingUpdate"];
        if !allowed.iter().any(|a| strategy["type"] == *a) {
            let field = "spec.strategy.type";
            errors.push(FieldError::not_supported(field, &strategy["type"], &allowed));
        }
        if strategy["type"] == "Recreate" && strategy["rollingUpdate"].is_object() {
            errors.push(FieldError::forbidden(
                "spec.strategy.rollingUpdate",
                "may not be specified when strategy `type` is 'Recreate'",
            ));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"], errors);
    }

    fn has_generation(&self) -> bool {
        true
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
        validate_selected(object, errors);
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"], errors);
    }
    fn has_generation(&self) -> bool {
        true
    }
}

/// StatefulSets.
pub struct StatefulSet;

impl Rules for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "podManagementPolicy", "OrderedReady");
        set_default(spec, "updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
        set_default(
            spec,
            "persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        );
    }
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0, "availableReplicas": 0});
    }
    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_selected(object, errors);
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"], errors);
    }
    fn has_generation(&self) -> bool {
        true
    }
}

/// DaemonSets.
pub struct DaemonSet;

impl Rules for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(
            spec,
            "updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        );
    }
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0,
            "desiredNumberScheduled": 0, "numberReady": 0,
        });
    }
    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_selected(object, errors);
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"], errors);
    }
    fn has_generation(&self) -> bool {
        true
    }
}

fn default_job(spec: &mut Value) {
    set_default(spec, "completions", 1);
    set_default(spec, "parallelism", 1);
    set_default(spec, "backoffLimit", 6);
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    set_default(spec, "podReplacementPolicy", "TerminatingOrFailed");
}

/// Jobs.
pub struct Job;

impl Rules for Job {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_of(object) {
            default_job(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let uid = crate::object::uid(object).to_owned();
        let name = crate::object::name(object).to_owned();
        let spec = &mut object["spec"];
        if spec["manualSelector"] != true && spec["selector"].is_null() {
            spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
            let labels = &mut spec["template"]["metadata"]["labels"];
            for prefix in ["batch.kubernetes.io/", ""] {
                labels[format!("{prefix}controller-uid")] = uid.clone().into();
                labels[format!("{prefix}job-name")] = name.clone().into();
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let template = &object["spec"]["template"];
        validate_template(template, &[], errors);
        let policy = &template["spec"]["restartPolicy"];
        if policy == "Always" {
            errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["OnFailure", "Never"]));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        for field in ["selector", "template", "completionMode"] {
            immutable(&format!("spec.{field}"), &new["spec"][field], &old["spec"][field], errors);
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// CronJobs.
pub struct CronJob;

impl Rules for CronJob {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else {
            return;
        };
        set_default(spec, "concurrencyPolicy", "Allow");
        set_default(spec, "suspend", false);
        set_default(spec, "successfulJobsHistoryLimit", 3);
        set_default(spec, "failedJobsHistoryLimit", 1);
        if let Some(template) = spec.pointer_mut("/jobTemplate/spec/template") {
            default_template(template);
        }
    }
    fn has_generation(&self) -> bool {
        true
    }
}
