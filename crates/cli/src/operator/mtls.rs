//! `lateen mtls`: the way from plaintext to mutual TLS everywhere.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use lateen_explain::strict::{self, Plan, Readiness};
use serde_json::Value;

use super::proxy_config::print_table;
use super::{kubectl, observe};

/// Arguments of `lateen mtls`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show who still sends plaintext to whom, and which namespaces can refuse it now
    Plan {
        /// Plaintext seen longer ago than this does not count (seconds)
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        since: u64,
    },
    /// Make one namespace refuse plaintext, if nobody would be cut off, and take that back if somebody is
    Apply {
        /// The namespace
        namespace: String,
        /// Plaintext seen longer ago than this does not count (seconds)
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        since: u64,
        /// How long to look for callers that are cut off (seconds)
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        watch: u64,
        /// Do it although somebody is cut off
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be asked, or the namespace is not ready.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Plan { since } => {
            show(&plans(None, *since)?.1);
            Ok(())
        }
        Command::Apply { namespace, since, watch, force } => apply(namespace, *since, *watch, *force),
    }
}

fn plans(namespace: Option<&str>, since: u64) -> anyhow::Result<(Vec<Value>, Vec<Plan>)> {
    let objects = observe::objects()?;
    let observed = observe::observe(&objects, namespace);
    let plans = strict::plan(&objects, &observed, since);
    Ok((objects, plans))
}

fn show(plans: &[Plan]) {
    let row = |plan: &Plan| {
        let row = [&plan.namespace, plan.readiness.as_str()].map(str::to_owned).into_iter();
        row.chain([plan.plaintext.len().to_string(), plan.unprotected.len().to_string()]).collect()
    };
    print_table(&["NAMESPACE", "MTLS", "PLAINTEXT CALLERS", "PODS WITHOUT SIDECAR"], plans.iter().map(row).collect());
    for plan in plans {
        for line in reasons(plan) {
            println!("{}: {line}", plan.namespace);
        }
    }
    if let Some(ready) = plans.iter().find(|plan| plan.readiness == Readiness::Ready) {
        println!("next: lateen mtls apply {}", ready.namespace);
    }
}

/// What stands in the way.
fn reasons(plan: &Plan) -> Vec<String> {
    let plaintext = plan.plaintext.iter().map(|seen| {
        let refused = if seen.refused > 0 { format!(", {} refused", seen.refused) } else { String::new() };
        let (from, to, port, ago) = (&seen.from, &seen.to, seen.port, seen.seconds_ago);
        format!("plaintext from {from} to {to} port {port}: {} calls{refused}, the last {ago} s ago", seen.calls)
    });
    plaintext.chain(plan.unasked.iter().map(|pod| format!("sidecar not asked: {pod}"))).collect()
}

fn apply(namespace: &str, since: u64, watch: u64, force: bool) -> anyhow::Result<()> {
    let (objects, plans) = plans(Some(namespace), since)?;
    let plan = find(&plans, namespace)?;
    if plan.readiness == Readiness::Strict {
        println!("{namespace} refuses plaintext already");
        return Ok(());
    }
    if plan.readiness == Readiness::Blocked && !force {
        let reasons = reasons(plan).join("\n  ");
        bail!(
            "{namespace} is not ready; give these callers a sidecar, or do it all the same with --force:\n  {reasons}"
        );
    }
    let policy = strict::policy(&strict::store(&objects).snapshot(), namespace);
    let before = present(&objects, &policy);
    let start = Instant::now();
    kubectl::apply(&policy)?;
    println!("{namespace} refuses plaintext from now on; looking for callers that are cut off for {watch} s");
    std::thread::sleep(Duration::from_secs(watch));
    // What was cut off meanwhile.
    let observed = observe::observe(&observe::objects()?, Some(namespace));
    let refused = |plan: &Plan| plan.plaintext.iter().any(|seen| seen.refused > 0);
    let plans = strict::plan(&objects, &observed, start.elapsed().as_secs());
    let plan = find(&plans, namespace)?;
    if !refused(plan) || force {
        println!("{namespace} is STRICT");
        return Ok(());
    }
    take_back(&policy, before)?;
    bail!("callers were cut off, so {namespace} is as before:\n  {}", reasons(plan).join("\n  "))
}

fn find<'p>(plans: &'p [Plan], namespace: &str) -> anyhow::Result<&'p Plan> {
    let plan = plans.iter().find(|plan| plan.namespace == namespace);
    plan.with_context(|| format!("there is no pod with a sidecar in namespace {namespace}"))
}

/// The object as it is there.
fn present<'o>(objects: &'o [Value], policy: &Value) -> Option<&'o Value> {
    let same = |key: &'static str| move |object: &&Value| object["metadata"][key] == policy["metadata"][key];
    let mut kind = objects.iter().filter(|object| object["kind"] == policy["kind"]);
    kind.by_ref().filter(same("namespace")).find(same("name"))
}

fn take_back(policy: &Value, before: Option<&Value>) -> anyhow::Result<()> {
    let text = |key: &str| policy["metadata"][key].as_str().unwrap_or_default();
    match before {
        Some(before) => {
            let patch = serde_json::json!([{ "op": "replace", "path": "/spec", "value": before["spec"] }]).to_string();
            let name = format!("peerauthentication/{}", text("name"));
            kubectl::output(&["patch", "-n", text("namespace"), &name, "--type=json", "--patch", &patch]).map(drop)
        }
        None => kubectl::output(&["delete", "peerauthentication", "-n", text("namespace"), text("name")]).map(drop),
    }
}
