//! Runs the cases of a group, one after another, each with its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use lateen_images::echo::api::ForwardEchoRequest;
use lateen_testkit::cluster::eventually;
use lateen_testkit::conformance::{Expected, Score, is_asked_for};
use lateen_testkit::world::{Ingress, Kind, Source, Workload, World};
use serde_json::{Value, json};

use super::call::{self, INGRESS_CLIENT};
use super::case::{Call, Case, fill};
use super::pairs;

/// How long a proxy may take to learn of a change.
const LEARN: Duration = Duration::from_secs(30);
/// The pause between a proxy's knowing the last of a change and the first call: what was sent with it is taken over
/// piece by piece.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a call is repeated that does not bring what it should.
const PATIENCE: Duration = Duration::from_secs(6);

/// What the source says of a name that its TLS library does not let it ask for.
const UNSENDABLE: &str = "can't be the name of a server";

/// The state of a run.
pub struct Runner<'a> {
    group: &'static str,
    world: &'a World,
    namespace: &'static str,
    external: &'static str,
    sources: BTreeMap<String, Source>,
    ingress: Option<Ingress>,
    /// What stands for a certificate of the ingress gateway and its key.
    certificate: [(&'static str, String); 2],
    expected: Expected,
    /// What is applied; nothing was yet where it is absent.
    active: Option<Vec<Value>>,
    /// Why what is active was refused, if it was.
    refused: Option<String>,
    /// How often the configuration has changed.
    changes: u32,
    /// The sources that know of the last change.
    informed: BTreeSet<String>,
}

/// What became of the calls of a case, by number.
type Outcomes = Vec<Result<(), String>>;

impl<'a> Runner<'a> {
    /// # Errors
    /// When the list of expected failures can't be read, or no certificate can be made.
    pub fn new(
        group: &'static str,
        world: &'a World,
        namespace: &'static str,
        external: &'static str,
    ) -> anyhow::Result<Self> {
        let expected = Expected::of_group(group)?;
        let made = rcgen::generate_simple_self_signed(["ingress.test".to_owned()])?;
        let certificate = [("cert.ingress", made.cert.pem()), ("key.ingress", made.signing_key.serialize_pem())];
        Ok(Self {
            group,
            world,
            namespace,
            external,
            sources: BTreeMap::new(),
            ingress: None,
            certificate,
            expected,
            active: None,
            refused: None,
            changes: 0,
            informed: BTreeSet::new(),
        })
    }

    /// Runs all cases but those that the original project does not pass itself, and settles the score.
    ///
    /// # Errors
    /// Failures that are not expected, and successes that are not.
    pub fn run(mut self, mut cases: Vec<Value>) -> anyhow::Result<()> {
        cases.retain(|case| case["known_issue"].is_null() && is_asked_for(case["id"].as_str().unwrap_or_default()));
        // Cases with the same configuration follow each other, so that it is applied once.
        cases.sort_by_key(|case| case["config"].to_string());
        let mut score = Score::new(self.group);
        for case in &cases {
            let id = case["id"].as_str().context("a case has an id")?.to_owned();
            for (number, outcome) in self.case(case)?.into_iter().enumerate() {
                score.count(format!("{id}#{number}"), outcome);
            }
        }
        score.settle()
    }

    /// A call passes when it does for every pair.
    fn case(&mut self, case: &Value) -> anyhow::Result<Outcomes> {
        let calls = case["calls"].as_array().map_or(0, Vec::len);
        let mut outcomes: Outcomes = vec![Ok(()); calls];
        for mut names in pairs::of(case, self.world, self.namespace) {
            let pair = names.get("src").zip(names.get("dst")).map(|(from, to)| format!("{from} to {to}: "));
            names.insert("ns".into(), self.namespace.into());
            names.insert("external_ns".into(), self.external.into());
            let further = World::authorities().into_iter().chain(self.certificate.clone());
            names.extend(further.map(|(name, value)| (name.to_owned(), value)));
            let of_pair = match fill(case, &names, self.world) {
                Ok(case) => self.filled(&case)?,
                Err(reason) => vec![Err(reason); calls],
            };
            for (outcome, of_pair) in outcomes.iter_mut().zip(of_pair) {
                if let (Ok(()), Err(reason)) = (&outcome, of_pair) {
                    *outcome = Err(format!("{}{reason}", pair.as_deref().unwrap_or_default()));
                }
            }
        }
        Ok(outcomes)
    }

    fn filled(&mut self, case: &Case) -> anyhow::Result<Outcomes> {
        if let Err(reason) = self.activate(&case.config) {
            return Ok(vec![Err(format!("the configuration is refused: {reason:#}")); case.calls.len()]);
        }
        self.inform(case)?;
        let started = Instant::now();
        let outcomes: Outcomes = case
            .calls
            .iter()
            .enumerate()
            .map(|(number, call)| self.call(call, &format!("{}#{number}", case.id)))
            .collect();
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        println!("  {}: {failed} of {} failed, {:.1?}", case.id, outcomes.len(), started.elapsed());
        for reason in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            println!("    {reason}");
        }
        // Where a feature is missing, what passes in spite of it proves nothing.
        let listed = (0..outcomes.len()).all(|number| self.expected.covers(&format!("{}#{number}", case.id)));
        let vacuous = |outcome: Result<(), String>| {
            outcome.and_then(|()| Err("passes, but other calls of its case do not".to_owned()))
        };
        Ok(if listed && failed > 0 { outcomes.into_iter().map(vacuous).collect() } else { outcomes })
    }

    /// Makes `config` all that is active.
    fn activate(&mut self, config: &[Value]) -> anyhow::Result<()> {
        if self.active.as_deref() == Some(config) {
            return self.refused.clone().map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)));
        }
        let old = self.active.take().unwrap_or_default();
        self.feed(&["delete", "--ignore-not-found", "-f", "-"], &old)?;
        let applied = self.feed(&["apply", "-f", "-"], config);
        self.active = Some(config.to_vec());
        self.changes += 1;
        self.informed.clear();
        let marker = self.marker();
        self.feed(&["apply", "-f", "-"], &[marker])?;
        self.refused = applied.as_ref().err().map(|error| format!("{error:#}"));
        applied
    }

    /// A name that only those know who have heard of the last change.
    fn marker(&self) -> Value {
        let [.., high, low] = self.changes.to_be_bytes();
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "marker"},
            "spec": {
                "hosts": [format!("marker-{}.test", self.changes)], "addresses": [format!("240.1.{high}.{low}")],
                "ports": [{"number": 9, "name": "tcp", "protocol": "TCP"}], "resolution": "STATIC",
                "endpoints": [{"address": "240.1.255.255"}],
            },
        })
    }

    /// Waits until the proxies of a case's workloads have heard of the last change.
    fn inform(&mut self, case: &Case) -> anyhow::Result<()> {
        let named = case.calls.iter().flat_map(|call| [Some(&call.from), call.to.as_ref(), call.to_workload.as_ref()]);
        let names: BTreeSet<String> = named.flatten().filter(|name| !self.informed.contains(*name)).cloned().collect();
        let url = format!("dns://marker-{}.test.", self.changes);
        for name in names {
            if name == INGRESS_CLIENT {
                self.inform_ingress()?;
                self.informed.insert(name);
                continue;
            }
            let (workload, namespace) = call::split(&name, self.namespace);
            let has_proxy = |workload: &Workload| workload.kind != Kind::Naked;
            if self.world.find(workload, namespace).is_some_and(has_proxy) {
                let source = self.source(&name)?;
                let request = ForwardEchoRequest { url: url.clone(), timeout_micros: 2_000_000, ..Default::default() };
                eventually(LEARN, || source.call(&request)).with_context(|| format!("the proxy of {name}"))?;
            }
            self.informed.insert(name);
        }
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Waits until the ingress gateway has heard of the last change.
    fn inform_ingress(&mut self) -> anyhow::Result<()> {
        let marker = format!("marker-{}.test", self.changes);
        let ingress = self.ingress()?;
        let knows = || {
            anyhow::ensure!(ingress.clusters()?.contains(&marker), "no cluster of {marker}");
            Ok(())
        };
        eventually(LEARN, knows).context("the ingress gateway")
    }

    fn ingress(&mut self) -> anyhow::Result<&Ingress> {
        let ingress = match self.ingress.take() {
            Some(ingress) => ingress,
            None => self.world.ingress()?,
        };
        Ok(self.ingress.insert(ingress))
    }

    /// `kubectl ARGS` with the objects; once more where the API server could not ask who has to agree.
    fn feed(&self, args: &[&str], objects: &[Value]) -> anyhow::Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let fed = self.feed_once(args, objects);
        match &fed {
            Err(error) if error.to_string().contains("failed calling webhook") => {
                println!("  again, since: {error}");
                self.feed_once(args, objects)
            }
            _ => fed,
        }
    }

    fn feed_once(&self, args: &[&str], objects: &[Value]) -> anyhow::Result<()> {
        let mut objects = objects.to_vec();
        for object in &mut objects {
            if object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = json!(self.namespace);
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let mut command = self.world.kubectl().command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("stdin")?.write_all(list.as_bytes())?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn call(&mut self, call: &Call, id: &str) -> Result<(), String> {
        self.label(call, true).map_err(|error| format!("{error:#}"))?;
        // What is expected to fail does not get the time to recover.
        let patience = if self.expected.covers(id) { Duration::ZERO } else { PATIENCE };
        let started = Instant::now();
        let result = loop {
            let result = self.attempt(call);
            if result.is_ok() || started.elapsed() >= patience {
                break result;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        self.label(call, false).map_err(|error| format!("{error:#}"))?;
        let name = if call.name.is_empty() { String::new() } else { format!("{}: ", call.name) };
        result.map_err(|reason| format!("{name}{reason}"))
    }

    fn attempt(&mut self, call: &Call) -> Result<(), String> {
        let aim = match call.from.as_str() {
            INGRESS_CLIENT => call::aim_at(self.ingress().map_err(|error| format!("{error:#}"))?, call)?,
            _ => call::aim(call, self.world, self.namespace)?,
        };
        let request = call::request(call, &aim);
        let source = self.source(&call.from).map_err(|error| format!("{error:#}"))?;
        let outcome = source.call(&request).map_err(|error| format!("{error:#}"));
        // That nothing is sent says nothing about who would receive it.
        if let Err(reason) = &outcome
            && reason.contains(UNSENDABLE)
        {
            return Err(format!("the call can't be made: {reason}"));
        }
        call.expect.check(&aim.scheme, &outcome).map_err(|reason| match outcome {
            Err(error) if !reason.contains(&error) => format!("{} from {}: {reason}: {error}", request.url, call.from),
            _ => format!("{} from {}: {reason}", request.url, call.from),
        })
    }

    fn source(&mut self, name: &str) -> anyhow::Result<&Source> {
        if !self.sources.contains_key(name) {
            let (workload, namespace) = call::split(name, self.namespace);
            let source = match name {
                INGRESS_CLIENT => Source::outside()?,
                _ => self.world.source(workload, namespace)?,
            };
            self.sources.insert(name.to_owned(), source);
        }
        self.sources.get(name).context("a source")
    }

    /// Gives the destination's pods the labels that a call wants, or takes them away again.
    fn label(&self, call: &Call, present: bool) -> anyhow::Result<()> {
        let Some(to) = call.to.as_deref().filter(|_| !call.destination_labels.is_empty()) else {
            return Ok(());
        };
        let (name, namespace) = call::split(to, self.namespace);
        let selector = format!("app={name}");
        for (key, value) in &call.destination_labels {
            let label = if present { format!("{key}={value}") } else { format!("{key}-") };
            self.world.kubectl().run(&["label", "pods", "-n", namespace, "-l", &selector, &label, "--overwrite"])?;
        }
        Ok(())
    }
}
