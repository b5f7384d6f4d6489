//! `lateen authz`: policies out of what was seen.

use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::Subcommand;
use lateen_explain::Judge;
use lateen_explain::suggest::{self, Suggestion, Trial};
use lateen_proxy::signatures::Checked;

use super::{kubectl, observe};

/// Arguments of `lateen authz`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Suggest policies that allow the calls that the sidecars of a namespace have seen, and no others
    Suggest {
        /// The namespace
        #[arg(short, long, default_value = "default")]
        namespace: String,
        /// Apply those that would have denied nothing
        #[arg(long)]
        apply: bool,
    },
}

/// Runs the command: policies as YAML, what has to be known about them as comments.
///
/// # Errors
/// When the cluster can't be asked, or there is nothing to suggest.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Suggest { namespace, apply } = &args.command;
    let objects = observe::objects()?;
    let observed = observe::observe(&objects, Some(namespace));
    for (pod, why) in &observed.unasked {
        println!("# sidecar not asked: {}: {why}", observed.pods[*pod].name);
    }
    let suggestions = suggest::suggest(&observed, namespace);
    ensure!(!suggestions.is_empty(), "no sidecar in namespace {namespace} has been called over mutual TLS");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let judge = Judge { signatures: &Checked, now };
    for suggestion in &suggestions {
        let trial = suggest::try_out(&objects, &observed, suggestion, &judge)?;
        show(suggestion, &trial)?;
        if *apply && trial.denied.is_empty() {
            kubectl::apply(&suggestion.policy)?;
            println!("# applied");
        }
    }
    Ok(())
}

fn show(suggestion: &Suggestion, trial: &Trial) -> anyhow::Result<()> {
    println!("---");
    println!("# {}: {} kinds of calls tried, {} denied", suggestion.workload, trial.tried, trial.denied.len());
    for denied in &trial.denied {
        println!("# would be denied: {denied}");
    }
    for left_out in &suggestion.left_out {
        println!("# not allowed: {left_out}");
    }
    for port in &trial.open {
        println!("# port {port} stays open for others: another policy allows them");
    }
    print!("{}", serde_saphyr::to_string(&suggestion.policy).context("writing YAML")?);
    Ok(())
}
