//! Jobs and CronJobs.

use serde_json::{Map, Value, json};

use super::workload::{default_template, not_negative, spec_of, validate_template};
use super::{Errors, Rules, immutable, list, names, set_default};
use crate::{cron, object, status::FieldError};

/// What a CronJob adds to its name for a Job's must fit into a label.
const CRON_JOB_NAME_MAX: usize = 52;
const MODES: [&str; 2] = ["Indexed", "NonIndexed"];
const LABEL_PREFIXES: [&str; 2] = ["batch.kubernetes.io/", ""];

fn default_job(spec: &mut Value) {
    // Without a number of completions, pods work until one of them says that all is done.
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set_default(spec, "completions", 1);
    }
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    set_default(spec, "parallelism", 1);
    set_default(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    set_default(spec, "manualSelector", false);
    let replaced = if spec["podFailurePolicy"].is_object() { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replaced);
    object::as_map(spec).retain(|_, v| !v.is_null());
}

/// Jobs.
pub struct Job;

impl Rules for Job {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_of(object) {
            default_job(spec);
        }
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        let own = object["metadata"]["labels"].as_object().is_none_or(Map::is_empty);
        if own && labels.as_object().is_some_and(|l| !l.is_empty()) {
            object::map_at(object, "metadata").insert("labels".into(), labels);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let (uid, name) = (object::uid(object).to_owned(), object::name(object).to_owned());
        let spec = &mut object["spec"];
        if spec["manualSelector"] == true {
            return;
        }
        if spec["selector"].is_null() {
            spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        }
        let labels =
            object::map_at(object::as_map(&mut spec["template"]).entry("metadata").or_insert(json!({})), "labels");
        for prefix in LABEL_PREFIXES {
            labels.insert(format!("{prefix}controller-uid"), uid.as_str().into());
            labels.insert(format!("{prefix}job-name"), name.as_str().into());
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        validate_job(spec, "spec", errors);
        let generated = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": object::uid(object)}});
        if spec["manualSelector"] != true && spec["selector"] != generated {
            errors.push(FieldError::invalid("spec.selector", &spec["selector"], "`selector` not auto-generated"));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        let (new, before) = (&new["spec"], &old["spec"]);
        for field in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy"] {
            immutable(&format!("spec.{field}"), &new[field], &before[field], errors);
        }
        completions(new, before, errors);
        let mut template = new["template"].clone();
        let not_started = before["suspend"] == true && old["status"]["startTime"].is_null();
        if not_started {
            restore_schedulable(&mut template, &before["template"]);
        }
        immutable("spec.template", &template, &before["template"], errors);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// An Indexed Job may grow and shrink where every index runs at once.
fn completions(new: &Value, old: &Value, errors: &mut Errors) {
    if new["completions"] == old["completions"] {
        return;
    }
    let elastic = old["completionMode"] == "Indexed" && old["completions"] == old["parallelism"];
    if !elastic {
        immutable("spec.completions", &new["completions"], &old["completions"], errors);
    } else if new["completions"] != new["parallelism"] {
        let text = "may only be changed in tandem with spec.parallelism";
        errors.push(FieldError::invalid("spec.completions", &new["completions"], text));
    }
}

/// Where its pods may run can still be said for a Job that has not started.
fn restore_schedulable(template: &mut Value, old: &Value) {
    for (part, fields) in [
        ("metadata", &["labels", "annotations"][..]),
        ("spec", &["affinity", "nodeSelector", "tolerations", "schedulingGates"][..]),
    ] {
        for field in fields {
            match old[part].get(field) {
                Some(value) => template[part][field] = value.clone(),
                None => {
                    object::map_at(template, part).shift_remove(*field);
                }
            }
        }
    }
}

fn validate_job(spec: &Value, path: &str, errors: &mut Errors) {
    let at = |field: &str| format!("{path}.{field}");
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        not_negative(&spec[field], &at(field), errors);
    }
    let indexed = spec["completionMode"] == "Indexed";
    if !MODES.iter().any(|m| spec["completionMode"] == *m) {
        errors.push(FieldError::not_supported(at("completionMode"), &spec["completionMode"], &MODES));
    }
    if indexed && spec["completions"].is_null() {
        errors.push(FieldError::required(at("completions"), "when completion mode is Indexed"));
    }
    if !indexed {
        for field in
            ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"].iter().filter(|f| !spec[**f].is_null())
        {
            let text = "requires indexed completion mode";
            errors.push(FieldError::invalid(at(field), &spec[*field], text));
        }
    }
    validate_template(&spec["template"], &at("template"), &[], errors);
    restart_policy(spec, path, errors);
    failure_policy(&spec["podFailurePolicy"], &at("podFailurePolicy"), errors);
}

fn restart_policy(spec: &Value, path: &str, errors: &mut Errors) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    let field = format!("{path}.template.spec.restartPolicy");
    match policy.as_str() {
        None | Some("Always") => errors.push(FieldError::required(field, "valid values: [\"OnFailure\" \"Never\"]")),
        Some("Never") => {}
        Some("OnFailure") => {
            if spec["podFailurePolicy"].is_object() {
                let text = "only \"Never\" is supported when podFailurePolicy is specified";
                errors.push(FieldError::invalid(field, policy, text));
            }
        }
        Some(_) => errors.push(FieldError::not_supported(field, policy, &["Never", "OnFailure"])),
    }
}

fn failure_policy(policy: &Value, path: &str, errors: &mut Errors) {
    const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
    for (index, rule) in list(&policy["rules"]).iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        if !ACTIONS.iter().any(|a| rule["action"] == *a) {
            errors.push(FieldError::not_supported(format!("{path}.action"), &rule["action"], &ACTIONS));
        }
        let (codes, conditions) = (&rule["onExitCodes"], list(&rule["onPodConditions"]));
        if codes.is_object() != conditions.is_empty() {
            let text = if codes.is_object() {
                "specifying both OnExitCodes and OnPodConditions is not supported"
            } else {
                "specifying one of OnExitCodes and OnPodConditions is required"
            };
            errors.push(FieldError::invalid(path.clone(), rule, text));
        }
        if codes.is_object() && codes["operator"] != "In" && codes["operator"] != "NotIn" {
            let field = format!("{path}.onExitCodes.operator");
            errors.push(FieldError::not_supported(field, &codes["operator"], &["In", "NotIn"]));
        }
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

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        schedule(spec, errors);
        let allowed = ["Allow", "Forbid", "Replace"];
        if !allowed.iter().any(|a| spec["concurrencyPolicy"] == *a) {
            let field = "spec.concurrencyPolicy";
            errors.push(FieldError::not_supported(field, &spec["concurrencyPolicy"], &allowed));
        }
        for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            not_negative(&spec[field], &format!("spec.{field}"), errors);
        }
        let mut job = spec["jobTemplate"]["spec"].clone();
        if job.is_object() {
            default_job(&mut job);
        }
        validate_job(&job, "spec.jobTemplate.spec", errors);
        if !job["selector"].is_null() {
            let text = "`selector` will be auto-generated";
            errors.push(FieldError::invalid("spec.jobTemplate.spec.selector", &job["selector"], text));
        }
    }

    fn name_error(&self, name: &str) -> Option<String> {
        let long = || format!("must be no more than {CRON_JOB_NAME_MAX} characters");
        if name.len() > CRON_JOB_NAME_MAX { Some(long()) } else { names::dns1123_subdomain(name) }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn schedule(spec: &Value, errors: &mut Errors) {
    let value = &spec["schedule"];
    match value.as_str().filter(|s| !s.is_empty()) {
        None => errors.push(FieldError::required("spec.schedule", "")),
        Some(text) if text.contains("TZ") => {
            let text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid("spec.schedule", value, text));
        }
        Some(text) => {
            if let Err(error) = cron::Schedule::parse(text) {
                errors.push(FieldError::invalid("spec.schedule", value, error));
            }
        }
    }
    let zone = &spec["timeZone"];
    if let Some(name) = zone.as_str()
        && cron::time_zone(Some(name)).is_err()
    {
        errors.push(FieldError::invalid("spec.timeZone", zone, format!("unknown time zone {name}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(policy: &str) -> Value {
        json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "a"}]}})
    }

    fn errors(rules: &dyn Rules, mut object: Value) -> Vec<String> {
        rules.default(&mut object);
        rules.prepare_create(&mut object);
        let mut errors = Vec::new();
        rules.validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn job(spec: Value) -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": spec});
        if job["spec"]["template"].is_null() {
            job["spec"]["template"] = template("Never");
        }
        job
    }

    #[test]
    fn a_job_is_checked_as_kubernetes_does() {
        assert_eq!(errors(&Job, job(json!({}))), [""; 0]);
        let cases = [
            (
                json!({"template": template("Always")}),
                "spec.template.spec.restartPolicy: Required value: valid values: [\"OnFailure\" \"Never\"]",
            ),
            (
                json!({"completionMode": "Indexed", "parallelism": 2}),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (json!({"backoffLimit": -1}), "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({"selector": {"matchLabels": {"a": "b"}}}),
                "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` not auto-generated",
            ),
        ];
        for (spec, text) in cases {
            assert_eq!(errors(&Job, job(spec)), [text]);
        }
    }

    #[test]
    fn a_work_queue_has_no_number_of_completions() {
        let mut queue = job(json!({"parallelism": 2}));
        Job.default(&mut queue);
        assert!(queue["spec"]["completions"].is_null());
        let mut single = job(json!({}));
        Job.default(&mut single);
        assert_eq!((&single["spec"]["completions"], &single["spec"]["parallelism"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn an_indexed_job_grows_with_its_parallelism() {
        let spec = |mode: &str, n: i64, parallel: i64| {
            let mut job = job(json!({"completionMode": mode, "completions": n, "parallelism": parallel}));
            Job.default(&mut job);
            job
        };
        let change = |old: Value, new: Value| {
            let mut errors = Vec::new();
            Job.validate_update(&new, &old, &mut errors);
            errors.len()
        };
        assert_eq!(change(spec("Indexed", 2, 2), spec("Indexed", 4, 4)), 0);
        assert_eq!(change(spec("Indexed", 2, 2), spec("Indexed", 4, 2)), 1);
        assert_eq!(change(spec("NonIndexed", 2, 2), spec("NonIndexed", 4, 4)), 1);
    }

    #[test]
    fn a_cron_job_needs_a_schedule_that_can_be_read() {
        let cron = |spec: Value| {
            let mut cron = json!({"metadata": {"name": "c"}, "spec": spec});
            cron["spec"]["jobTemplate"] = json!({"spec": {"template": template("Never")}});
            cron
        };
        assert_eq!(errors(&CronJob, cron(json!({"schedule": "*/5 * * * *", "timeZone": "Etc/UTC"}))), [""; 0]);
        let cases = [
            (json!({}), "spec.schedule: Required value"),
            (
                json!({"schedule": "every day"}),
                "spec.schedule: Invalid value: \"every day\": expected exactly 5 fields, found 2: [every day]",
            ),
            (
                json!({"schedule": "@daily", "timeZone": "Mars/North"}),
                "spec.timeZone: Invalid value: \"Mars/North\": unknown time zone Mars/North",
            ),
            (
                json!({"schedule": "@daily", "concurrencyPolicy": "Never"}),
                "spec.concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
        ];
        for (spec, text) in cases {
            assert_eq!(errors(&CronJob, cron(spec)), [text]);
        }
    }
}
