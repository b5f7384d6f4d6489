//! Kinds that are kept and shown, but that nothing in this cluster acts on. Writing one says so.

use serde_json::{Value, json};

use super::workload::{not_negative, spec_of, validate_template};
use super::{Errors, Rules, immutable, list, metadata, set_default};
use crate::status::FieldError;

/// Limits on how many pods may be evicted at once.
pub struct PodDisruptionBudget;

impl Rules for PodDisruptionBudget {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] =
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
            let text = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid("spec", spec, text));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            super::workload::int_or_percent(&spec[field], &format!("spec.{field}"), errors);
        }
        metadata::selector(&spec["selector"], "spec.selector", errors);
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec!["PodDisruptionBudget is stored, but evictions in this cluster do not look at it".into()]
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Numbers of replicas that follow the load.
pub struct HorizontalPodAutoscaler;

impl Rules for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) {
            set_default(spec, "minReplicas", 1);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        let (least, most) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64().unwrap_or(0));
        if least < 1 {
            let text = "must be greater than or equal to 1";
            errors.push(FieldError::invalid("spec.minReplicas", &spec["minReplicas"], text));
        }
        if most < 1 {
            errors.push(FieldError::invalid("spec.maxReplicas", &json!(most), "must be greater than 0"));
        } else if most < least {
            let text = "must be greater than or equal to `minReplicas`";
            errors.push(FieldError::invalid("spec.maxReplicas", &json!(most), text));
        }
        for field in ["kind", "name"] {
            if spec["scaleTargetRef"][field].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("spec.scaleTargetRef.{field}"), ""));
            }
        }
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        let text = "HorizontalPodAutoscaler is stored, but nothing scales by it: this cluster has no metrics API and \
                    no autoscaler; use kubectl scale";
        vec![text.into()]
    }

    fn refusal(&self, manager: &str) -> Option<&'static str> {
        (manager == "kubectl-autoscale").then_some(
            "this cluster has no metrics API and no autoscaler, so nothing would scale; use kubectl scale, or apply a \
             HorizontalPodAutoscaler to have it stored",
        )
    }
}

/// Who may talk to whom, below the mesh.
pub struct NetworkPolicy;

impl Rules for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else { return };
        let mut types = vec!["Ingress"];
        if !list(&spec["egress"]).is_empty() {
            types.push("Egress");
        }
        set_default(spec, "policyTypes", json!(types));
        set_default(spec, "podSelector", json!({}));
        for direction in ["ingress", "egress"] {
            for rule in spec.get_mut(direction).into_iter().flat_map(super::items) {
                for port in rule.get_mut("ports").into_iter().flat_map(super::items) {
                    set_default(port, "protocol", "TCP");
                }
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        metadata::selector(&spec["podSelector"], "spec.podSelector", errors);
        for (index, kind) in list(&spec["policyTypes"]).iter().enumerate() {
            if kind != "Ingress" && kind != "Egress" {
                let field = format!("spec.policyTypes[{index}]");
                errors.push(FieldError::not_supported(field, kind, &["Egress", "Ingress"]));
            }
        }
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        let text = "NetworkPolicy is stored, but not enforced: pods of this cluster reach each other whatever it says";
        vec![text.into()]
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// The ReplicaSets of old.
pub struct ReplicationController;

impl Rules for ReplicationController {
    fn default(&self, object: &mut Value) {
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        let Some(spec) = spec_of(object) else { return };
        set_default(spec, "replicas", 1);
        if labels.is_object() {
            set_default(spec, "selector", labels);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        not_negative(&spec["replicas"], "spec.replicas", errors);
        if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
            errors.push(FieldError::required("spec.selector", ""));
        }
        if !spec["template"].is_object() {
            return errors.push(FieldError::required("spec.template", ""));
        }
        let labels = &spec["template"]["metadata"]["labels"];
        let wanted = spec["selector"].as_object().into_iter().flatten();
        if wanted.into_iter().any(|(key, value)| labels[key] != *value) {
            let text = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid("spec.template.metadata.labels", labels, text));
        }
        validate_template(&spec["template"], "spec.template", &[], errors);
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        let text = "ReplicationController is stored, but nothing in this cluster makes its pods; use a Deployment";
        vec![text.into()]
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Requests for certificates.
pub struct CertificateSigningRequest;

impl Rules for CertificateSigningRequest {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        for field in ["request", "signerName"] {
            if spec[field].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("spec.{field}"), ""));
            }
        }
        if list(&spec["usages"]).is_empty() {
            errors.push(FieldError::required("spec.usages", ""));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec", &new["spec"], &old["spec"], errors);
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        let text =
            "CertificateSigningRequest is stored, but this cluster runs no signer: no certificate will be issued";
        vec![text.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(rules: &dyn Rules, mut object: Value) -> Vec<String> {
        rules.default(&mut object);
        let mut errors = Vec::new();
        rules.validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_autoscaler_names_its_target_and_its_bounds() {
        let target = json!({"kind": "Deployment", "name": "web"});
        let fine = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}});
        assert_eq!(errors(&HorizontalPodAutoscaler, fine), [""; 0]);
        let upside_down = json!({"spec": {"minReplicas": 5, "maxReplicas": 3, "scaleTargetRef": target}});
        let text = "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`";
        assert_eq!(errors(&HorizontalPodAutoscaler, upside_down), [text]);
    }

    #[test]
    fn a_network_policy_is_for_the_directions_it_has_rules_for() {
        let mut policy = json!({"spec": {"egress": [{"ports": [{"port": 53}]}]}});
        NetworkPolicy.default(&mut policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    }
}
