use std::sync::Arc;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron_job(spec: Value, status: Value) -> Value {
    let mut cron_job = json!({
        "metadata": {"name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": {"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"backoffLimit": 1}}},
        "status": status,
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        cron_job["spec"][key] = value.clone();
    }
    cron_job
}

fn job(name: &str, ended: Option<&str>) -> Object {
    let conditions: Vec<Value> = ended.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    Arc::new(json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")},
        "status": {"conditions": conditions, "startTime": format!("2026-01-01T00:0{name}:00Z"),
            "completionTime": format!("2026-01-01T00:0{name}:30Z")},
    }))
}

fn reasons(plan: &Plan) -> Vec<&str> {
    plan.events.iter().map(|(_, reason, _)| *reason).collect()
}

fn active(name: &str) -> Value {
    json!({"active": [{"name": name, "uid": format!("uid-{name}")}]})
}

#[test]
fn a_job_is_made_when_its_time_has_come() {
    let early = plan(&cron_job(json!({}), json!({})), &[], time("2026-01-01T00:09:59Z"));
    assert!(early.create.is_none());
    assert_eq!(early.look_again, Some(Duration::from_secs(1) + MOMENT));
    let mut due = plan(&cron_job(json!({}), json!({})), &[], time("2026-01-01T00:10:01Z"));
    let (at, made) = due.create.take().unwrap();
    assert_eq!(made.name(), format!("c-{}", time("2026-01-01T00:10:00Z").as_second() / 60));
    assert_eq!(made.annotation(SCHEDULED_AT), Some("2026-01-01T00:10:00Z"));
    assert_eq!((made.label("a"), &made["spec"]["backoffLimit"]), (Some("b"), &json!(1)));
    assert_eq!(made.controller().unwrap()["kind"], "CronJob");
    started(&mut due.status, &made, at);
    assert_eq!(due.status["lastScheduleTime"], "2026-01-01T00:10:00Z");
    let again = plan(&cron_job(json!({}), due.status), &[], time("2026-01-01T00:10:02Z"));
    assert!(again.create.is_none());
}

#[test]
fn the_time_zone_says_what_the_hour_is() {
    let daily = json!({"schedule": "0 8 * * *", "timeZone": "Asia/Tokyo"});
    let made = plan(&cron_job(daily, json!({})), &[], time("2026-01-01T23:00:01Z")).create.unwrap();
    assert_eq!(made.0, time("2026-01-01T23:00:00Z"));
}

#[test]
fn only_the_latest_of_missed_times_is_served() {
    let status = json!({"lastScheduleTime": "2026-01-01T00:00:00Z"});
    let after_a_day = plan(&cron_job(json!({}), status.clone()), &[], time("2026-01-02T00:05:00Z"));
    assert_eq!(after_a_day.create.as_ref().unwrap().0, time("2026-01-02T00:00:00Z"));
    assert_eq!(reasons(&after_a_day), ["TooManyMissedTimes"]);
    let strict = cron_job(json!({"startingDeadlineSeconds": 60}), status);
    let late = plan(&strict, &[], time("2026-01-02T00:05:00Z"));
    assert!(late.create.is_none());
}

#[test]
fn jobs_that_still_run_stop_or_are_replaced_by_the_next() {
    let running = [job("1", None)];
    let due = time("2026-01-01T00:10:01Z");
    let with = |policy: &str| plan(&cron_job(json!({"concurrencyPolicy": policy}), active("1")), &running, due);
    assert!(with("Allow").create.is_some());
    let forbidden = with("Forbid");
    assert!(forbidden.create.is_none());
    assert_eq!(reasons(&forbidden), ["JobAlreadyActive"]);
    let replaced = with("Replace");
    assert!(replaced.create.is_some());
    assert_eq!(replaced.delete[0].name(), "1");
    assert!(plan(&cron_job(json!({"suspend": true}), json!({})), &[], due).create.is_none());
}

#[test]
fn ended_jobs_leave_the_status_and_later_the_cluster() {
    let all: Vec<Object> = ["1", "2", "3", "4", "5"].iter().map(|n| job(n, Some("Complete"))).collect();
    let seen = plan(&cron_job(json!({}), active("5")), &all, time("2026-01-01T00:06:00Z"));
    assert_eq!(seen.delete.iter().map(|j| j.name()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(reasons(&seen), ["SawCompletedJob"]);
    assert_eq!(seen.status, json!({"lastSuccessfulTime": "2026-01-01T00:05:30Z"}));
    let gone = plan(&cron_job(json!({}), active("9")), &[], time("2026-01-01T00:06:00Z"));
    assert_eq!(reasons(&gone), ["MissingJob"]);
}
