//! Rows of pods and of the kinds that make them.

use serde_json::{Value, json};

use super::{Layout, age, list, number, pod, selector, since, string, text, wide};

fn count(object: &Value, path: &str) -> Value {
    json!(object.pointer(path).and_then(Value::as_i64).unwrap_or(0))
}

fn of_containers(template: &Value, field: &str) -> Value {
    let containers = list(&template["spec"]["containers"]);
    containers.iter().map(|c| string(&c[field])).collect::<Vec<_>>().join(",").into()
}

/// Containers, images and selector, the wide columns of all of these kinds.
fn details(object: &Value) -> [Value; 3] {
    let template = &object["spec"]["template"];
    [of_containers(template, "name"), of_containers(template, "image"), selector(&object["spec"]["selector"]).into()]
}

fn ready(object: &Value) -> Value {
    let ready = count(object, "/status/readyReplicas");
    format!("{ready}/{}", count(object, "/spec/replicas")).into()
}

fn deployment(object: &Value) -> Vec<Value> {
    let mut cells = vec![
        ready(object),
        count(object, "/status/updatedReplicas"),
        count(object, "/status/availableReplicas"),
        age(object),
    ];
    cells.extend(details(object));
    cells
}

fn replica_set(object: &Value) -> Vec<Value> {
    let mut cells = vec![
        count(object, "/spec/replicas"),
        count(object, "/status/replicas"),
        count(object, "/status/readyReplicas"),
        age(object),
    ];
    cells.extend(details(object));
    cells
}

fn stateful_set(object: &Value) -> Vec<Value> {
    let [containers, images, _] = details(object);
    vec![ready(object), age(object), containers, images]
}

fn daemon_set(object: &Value) -> Vec<Value> {
    let nodes = super::or_none(super::pairs(&object["spec"]["template"]["spec"]["nodeSelector"]));
    let mut cells = vec![
        count(object, "/status/desiredNumberScheduled"),
        count(object, "/status/currentNumberScheduled"),
        count(object, "/status/numberReady"),
        count(object, "/status/updatedNumberScheduled"),
        count(object, "/status/numberAvailable"),
        nodes.into(),
        age(object),
    ];
    cells.extend(details(object));
    cells
}

fn job(object: &Value) -> Vec<Value> {
    let done = count(object, "/status/succeeded");
    let (spec, status) = (&object["spec"], &object["status"]);
    let is = |kind: &str| list(&status["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True");
    let state = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let duration = match (status["startTime"].as_str(), status["completionTime"].as_str()) {
        (None, _) => String::new(),
        (Some(_), None) => since(&status["startTime"]),
        (Some(start), Some(end)) => {
            let second = |t: &str| t.parse::<jiff::Timestamp>().map_or(0, |t| t.as_second());
            crate::clock::age(second(end) - second(start))
        }
    };
    let of = match (spec["completions"].as_i64(), spec["parallelism"].as_i64().unwrap_or(0)) {
        (Some(completions), _) => completions.to_string(),
        (None, parallel) if parallel > 1 => format!("1 of {parallel}"),
        (None, _) => "1".to_owned(),
    };
    let mut cells = vec![state.into(), format!("{done}/{of}").into(), duration.into(), age(object)];
    cells.extend(details(object));
    cells
}

fn cron_job(object: &Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let last = &status["lastScheduleTime"];
    let suspended = if spec["suspend"] == true { "True" } else { "False" };
    let zone = super::or_none(string(&spec["timeZone"]));
    let template = &spec["jobTemplate"]["spec"]["template"];
    vec![
        spec["schedule"].clone(),
        zone.into(),
        suspended.into(),
        list(&status["active"]).len().into(),
        if last.is_string() { since(last) } else { "<none>".into() }.into(),
        age(object),
        of_containers(template, "name"),
        of_containers(template, "image"),
        selector(&spec["jobTemplate"]["spec"]["selector"]).into(),
    ]
}

fn controller_revision(object: &Value) -> Vec<Value> {
    let owner = list(&object["metadata"]["ownerReferences"]).iter().find(|o| o["controller"] == true);
    let controller = owner.map(|owner| {
        let api_version = string(&owner["apiVersion"]);
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        format!("{}.{group}/{}", string(&owner["kind"]).to_lowercase(), string(&owner["name"]))
    });
    vec![super::or_none(controller.unwrap_or_default()).into(), count(object, "/revision"), age(object)]
}

/// The layout of a kind, if it is one of these.
pub fn layout(group: &str, plural: &str) -> Option<Layout> {
    Some(match (group, plural) {
        ("", "pods") => Layout {
            columns: const {
                &[
                    text("Ready"),
                    text("Status"),
                    text("Restarts"),
                    text("Age"),
                    wide("IP"),
                    wide("Node"),
                    wide("Nominated Node"),
                    wide("Readiness Gates"),
                ]
            },
            cells: pod::cells,
        },
        ("apps", "deployments") => Layout {
            columns: const {
                &[
                    text("Ready"),
                    number("Up-to-date"),
                    number("Available"),
                    text("Age"),
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: deployment,
        },
        ("apps", "replicasets") | ("", "replicationcontrollers") => Layout {
            columns: const {
                &[
                    number("Desired"),
                    number("Current"),
                    number("Ready"),
                    text("Age"),
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: replica_set,
        },
        ("apps", "statefulsets") => Layout {
            columns: const { &[text("Ready"), text("Age"), wide("Containers"), wide("Images")] },
            cells: stateful_set,
        },
        ("apps", "daemonsets") => Layout {
            columns: const {
                &[
                    number("Desired"),
                    number("Current"),
                    number("Ready"),
                    number("Up-to-date"),
                    number("Available"),
                    text("Node Selector"),
                    text("Age"),
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: daemon_set,
        },
        ("batch", "jobs") => Layout {
            columns: const {
                &[
                    text("Status"),
                    text("Completions"),
                    text("Duration"),
                    text("Age"),
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: job,
        },
        ("batch", "cronjobs") => Layout {
            columns: const {
                &[
                    text("Schedule"),
                    text("Timezone"),
                    text("Suspend"),
                    number("Active"),
                    text("Last Schedule"),
                    text("Age"),
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: cron_job,
        },
        ("apps", "controllerrevisions") => Layout {
            columns: const { &[text("Controller"), number("Revision"), text("Age")] },
            cells: controller_revision,
        },
        _ => return None,
    })
}
