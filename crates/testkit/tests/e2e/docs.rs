//! The pages of the documentation, run as they stand: every `sh` block in order; the `text` block behind it must be in its output.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, repository};

/// The pages with commands, in an order in which they can be run.
const PAGES: [&str; 16] = [
    "guide/3-mini-mesh",
    "guide/4-injection",
    "guide/2-gateways",
    "guide/2-gateway-api",
    "guide/5-routing",
    "guide/6-mutual-tls",
    "guide/6-authorization",
    "guide/6-end-users",
    "certificates",
    "guide/8-resilience",
    "guide/9-canary",
    "guide/10-mirroring",
    "commands",
    "errors",
    "local-cluster",
    "guide/11-cleanup",
];

/// A block of commands and what a reader is told to see.
#[derive(Debug, Default)]
struct Step {
    commands: String,
    shown: Vec<String>,
}

#[test]
fn every_page_with_commands() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    for page in PAGES {
        let path = repository().join(format!("docs/{page}.md"));
        let steps = steps(&std::fs::read_to_string(&path)?);
        ensure!(!steps.is_empty(), "{page} has no commands");
        for step in steps {
            run(&cluster, &step).with_context(|| format!("{page}:\n{}", step.commands))?;
        }
    }
    Ok(())
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let block: Vec<_> = match line {
            "```sh" | "```text" => lines.by_ref().take_while(|line| *line != "```").collect(),
            _ => continue,
        };
        if line == "```sh" {
            steps.push(Step { commands: block.join("\n"), shown: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            step.shown = block.into_iter().map(str::to_owned).collect();
        }
    }
    steps
}

fn run(cluster: &Cluster, step: &Step) -> anyhow::Result<()> {
    let binary = std::env::var_os("LATEEN_BIN").map_or_else(|| repository().join("target/release/lateen"), Into::into);
    let folder = binary.parent().map(Path::to_path_buf).context("the binary's folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &step.commands])
        .current_dir(repository())
        .env("PATH", path)
        .env("LATEEN_HOME", cluster.home())
        .env("HOME", cluster.home())
        .env("KUBECONFIG", cluster.home().join("kubeconfig"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    for expected in &step.shown {
        ensure!(text.lines().any(|line| shows(line, expected)), "`{expected}` is not in\n{text}");
    }
    Ok(())
}

/// Whether the words of `expected` stand in `line` in that order; `...` at the end of a word stands for any rest of it.
fn shows(line: &str, expected: &str) -> bool {
    let mut rest = line;
    expected.split_whitespace().all(|word| {
        let word = word.trim_end_matches("...");
        rest.find(word).is_some_and(|at| {
            rest = &rest[at + word.len()..];
            true
        })
    })
}
