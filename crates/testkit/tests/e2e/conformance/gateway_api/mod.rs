//! Group `gateway-api`: the Gateway API's own conformance cases, with gateways of a real mesh.

mod request;
mod setup;
mod status;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use lateen_testkit::cluster::{Cluster, User};
use lateen_testkit::conformance::{self, Expected, Score};
use lateen_testkit::kubectl::Kubectl;
use serde::Deserialize;
use serde_json::Value;

/// How long a step may take to come true: gateways of cases are deployed first.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Deserialize)]
struct Case {
    id: String,
    #[serde(default)]
    manifests: Vec<String>,
    steps: Vec<Value>,
}

#[test]
fn gateway_api() -> anyhow::Result<()> {
    let Some(folder) = conformance::folder().map(|folder| folder.join("gateway-api")).filter(|folder| folder.is_dir())
    else {
        println!("gateway-api: skipped, no conformance data; set LATEEN_CONFORMANCE to its folder");
        return Ok(());
    };
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    setup::apply(&kubectl, &folder)?;
    let expected = Expected::of_group("gateway-api")?;
    let mut score = Score::new("gateway-api");
    let only = std::env::var("LATEEN_CONFORMANCE_CASE").unwrap_or_default();
    for (_, case) in conformance::read_all::<Case>(&folder.join("cases"))? {
        if !case.id.contains(&only) {
            continue;
        }
        let started = Instant::now();
        // What is expected to fail does not get the time to come true.
        let patience = if expected.covers(&case.id) { Duration::from_secs(5) } else { PATIENCE };
        let outcome = Runner::new(&kubectl, &folder, &case, patience)?.run(&case);
        println!("  {}: {:?}, {:.1?}", case.id, outcome, started.elapsed());
        score.count(case.id, outcome);
    }
    score.settle()
}

/// The state of one case.
struct Runner<'a> {
    kubectl: &'a Kubectl,
    manifests: Vec<PathBuf>,
    /// Kinds of its routes, by namespace and name.
    kinds: BTreeMap<String, String>,
    patience: Duration,
    /// The last request that was made.
    last: Option<request::Request>,
}

impl<'a> Runner<'a> {
    fn new(kubectl: &'a Kubectl, folder: &Path, case: &Case, patience: Duration) -> anyhow::Result<Self> {
        let cases = folder.join("cases");
        let manifests: Vec<PathBuf> = case.manifests.iter().map(|manifest| cases.join(manifest)).collect();
        let mut kinds = BTreeMap::new();
        for manifest in &manifests {
            for object in setup::documents(manifest)? {
                let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
                let kind = text("/kind").to_lowercase();
                if kind.ends_with("route") {
                    kinds.insert(format!("{}/{}", text("/metadata/namespace"), text("/metadata/name")), kind);
                }
            }
        }
        Ok(Self { kubectl, manifests, kinds, patience, last: None })
    }

    fn run(mut self, case: &Case) -> Result<(), String> {
        if case.steps.is_empty() {
            return Err("the case has no steps".into());
        }
        let unknown = case.steps.iter().filter_map(|step| step["check"].as_str()).find(|check| !is_known(check));
        if let Some(check) = unknown {
            return Err(format!("not carried out here: {check}"));
        }
        let applied = setup::feed(self.kubectl, &["apply", "-f", "-"], &self.manifests);
        let outcome = applied.map_err(|error| format!("not applied: {error:#}")).and_then(|()| self.steps(case));
        let removed = setup::feed(self.kubectl, &["delete", "--ignore-not-found", "-f", "-"], &self.manifests);
        outcome.and(removed.map_err(|error| format!("not deleted: {error:#}")))
    }

    fn steps(&mut self, case: &Case) -> Result<(), String> {
        for (number, step) in case.steps.iter().enumerate() {
            if step["name"].as_str().is_some_and(|name| name.contains("after deleting the relevant reference grant")) {
                setup::delete_grants(self.kubectl, &self.manifests).map_err(|error| format!("{error:#}"))?;
            }
            let started = Instant::now();
            while let Err(reason) = self.step(step) {
                if started.elapsed() >= self.patience {
                    return Err(format!("step {number}, {}: {reason}", step["check"]));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        match step["check"].as_str().unwrap_or_default() {
            "http_request" => {
                let request = request::Request::of(step, self.kubectl)?;
                let checked = request.check(&step["expected"], self.kubectl);
                self.last = Some(request);
                checked
            }
            "weighted_distribution" => {
                let last = self.last.as_ref().ok_or("nothing was requested before")?;
                last.distribution(&step["expected_weights"])
            }
            // Looked at together with the request itself.
            "http_expect_mirrored_request" | "http_make_request" | "namespaces_must_be_ready" => Ok(()),
            check => status::check(check, step, self.kubectl, &self.kinds),
        }
    }
}

/// Steps of requests; all others look at the status of objects.
const REQUESTS: [&str; 5] = [
    "http_request",
    "weighted_distribution",
    "http_expect_mirrored_request",
    "http_make_request",
    "namespaces_must_be_ready",
];

/// Is a step carried out here.
fn is_known(check: &str) -> bool {
    REQUESTS.contains(&check) || status::CHECKS.contains(&check)
}

/// An object as the API server has it; null if there is none.
fn get(kubectl: &Kubectl, kind: &str, name: &str) -> Result<Value, String> {
    let (namespace, name) = name.split_once('/').ok_or("a name without namespace")?;
    let args = ["get", kind, "-n", namespace, name, "-o", "json", "--ignore-not-found"];
    let text = kubectl.run(&args).map_err(|error| format!("{error:#}"))?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).context("JSON of kubectl").map_err(|error| format!("{error:#}"))
}
