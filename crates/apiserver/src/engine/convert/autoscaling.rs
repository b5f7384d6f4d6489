//! HorizontalPodAutoscalers: version 1 knows one metric, the processor's use; version 2 has a list of metrics.

use serde_json::{Value, json};

use crate::object::as_map;

/// An annotation of version 1 that holds the metrics it has no field for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const PERCENT: &str = "targetCPUUtilizationPercentage";

/// A stored object as version 1 shows it.
pub fn to_v1(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else { return };
    let metrics = as_map(spec).shift_remove("metrics");
    let Some(Value::Array(mut metrics)) = metrics else { return };
    if let Some(at) = metrics.iter().position(is_cpu) {
        let percent = metrics.remove(at)["resource"]["target"]["averageUtilization"].take();
        object["spec"][PERCENT] = percent;
    }
    if !metrics.is_empty() {
        object["metadata"]["annotations"][METRICS] = Value::Array(metrics).to_string().into();
    }
}

/// An object of version 1 as it is stored.
pub fn from_v1(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else { return };
    let mut metrics = Vec::new();
    if let Some(percent) = as_map(spec).shift_remove(PERCENT).filter(Value::is_number) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    let kept = object.pointer_mut("/metadata/annotations").and_then(|a| as_map(a).shift_remove(METRICS));
    let kept = kept.and_then(|k| serde_json::from_str::<Vec<Value>>(k.as_str()?).ok());
    metrics.extend(kept.into_iter().flatten());
    if !metrics.is_empty() {
        object["spec"]["metrics"] = Value::Array(metrics);
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["resource"]["name"] == "cpu" && metric["resource"]["target"]["averageUtilization"].is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_version_1() {
        let metric = |name: &str| {
            json!({"type": "Resource", "resource": {"name": name,
                "target": {"type": "Utilization", "averageUtilization": 80}}})
        };
        let stored = json!({
            "metadata": {"name": "a", "annotations": {"a": "b"}},
            "spec": {"maxReplicas": 3, "metrics": [metric("cpu"), metric("memory")]},
        });
        let mut object = stored.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}));
        from_v1(&mut object);
        assert_eq!(object, stored);
    }
}
