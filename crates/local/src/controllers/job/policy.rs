//! What a failed pod means for its Job: `spec.podFailurePolicy`.

use serde_json::Value;

use crate::controllers::object::Meta;

/// What follows from a pod's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts towards the limit.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The Job has failed, with this text.
    FailJob(String),
}

/// The verdict of the first rule that fits.
#[must_use]
pub fn verdict(job: &Value, pod: &Value) -> Verdict {
    for (index, rule) in job.items("/spec/podFailurePolicy/rules").iter().enumerate() {
        let Some(why) = matched(rule, pod) else { continue };
        return match rule.text("/action") {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching FailJob rule at index {index}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn matched(rule: &Value, pod: &Value) -> Option<String> {
    if rule["onExitCodes"].is_object() {
        return by_exit_code(&rule["onExitCodes"], pod);
    }
    let wanted = rule.items("/onPodConditions").iter().find(|wanted| {
        let status = wanted["status"].as_str().unwrap_or("True");
        pod.condition(wanted.text("/type")).is_some_and(|c| c["status"] == status)
    })?;
    let (namespace, name) = (pod.namespace(), pod.name());
    Some(format!("Pod {namespace}/{name} has condition {}", wanted.text("/type")))
}

fn by_exit_code(asked: &Value, pod: &Value) -> Option<String> {
    let wanted_name = asked.text("/containerName");
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| pod.items(list));
    let (container, code) = statuses.find_map(|status| {
        let code = status.int("/state/terminated/exitCode").filter(|code| *code != 0)?;
        let listed = asked.items("/values").iter().any(|v| v.as_i64() == Some(code));
        let fits = listed == (asked["operator"] == "In");
        let named = wanted_name.is_empty() || status["name"] == wanted_name;
        (fits && named).then(|| (status.text("/name"), code))
    })?;
    Some(format!("Container {container} for pod {}/{} failed with exit code {code}", pod.namespace(), pod.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let job = json!({"spec": {"podFailurePolicy": {"rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
        ]}}});
        let pod = |name: &str, code: i64, disrupted: &str| {
            json!({"metadata": {"name": "p", "namespace": "n"}, "status": {
                "conditions": [{"type": "DisruptionTarget", "status": disrupted}],
                "containerStatuses": [{"name": name, "state": {"terminated": {"exitCode": code}}}]}})
        };
        let text = "Container main for pod n/p failed with exit code 42 matching FailJob rule at index 0";
        assert_eq!(verdict(&job, &pod("main", 42, "False")), Verdict::FailJob(text.into()));
        assert_eq!(verdict(&job, &pod("other", 42, "True")), Verdict::Ignore);
        assert_eq!(verdict(&job, &pod("other", 42, "False")), Verdict::FailIndex);
        assert_eq!(verdict(&job, &pod("other", 1, "False")), Verdict::Count);
    }
}
