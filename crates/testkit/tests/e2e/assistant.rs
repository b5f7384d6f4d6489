//! The two steps that operators fear, with the mesh's help: refusing plaintext, and allowing only what is needed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};

use crate::answers::ask;
use crate::mini_mesh;

#[test]
fn plaintext_ends_and_policies_come_out_of_what_was_seen() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    kubectl.run(&["create", "namespace", "legacy"])?;
    let manifest = repository().join("samples/mini-mesh/curl.yaml");
    kubectl.run(&["apply", "-n", "legacy", "-f", &manifest.display().to_string()])?;
    kubectl.run(&["rollout", "status", "-n", "legacy", "deployment/curl", "--timeout=60s"])?;
    let legacy = ["exec", "-n", "legacy", "deploy/curl", "--", "curl", "-s", "-m", "5", "http://frontend.default/"];
    kubectl.run(&legacy)?;

    let plan = cluster.run(&["mtls", "plan"])?;
    ensure!(plan.contains("BLOCKED") && plan.contains("from legacy/curl (no sidecar) to default/frontend"), "{plan}");
    let refused = cluster.run(&["mtls", "apply", "default"]).err().map(|error| format!("{error:#}"));
    ensure!(refused.as_ref().is_some_and(|text| text.contains("legacy/curl")), "{refused:?}");
    std::thread::sleep(Duration::from_secs(2));

    // It calls again while others are looked for: it is cut off, seen, and let in again.
    let mut applying = cluster.command(&["mtls", "apply", "default", "--since", "1", "--watch", "10"]);
    let mut applying = applying.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(applying.stdout.as_mut().context("its output")?).read_line(&mut said)?;
    ensure!(said.contains("refuses plaintext from now on"), "{said}");
    eventually(Duration::from_secs(5), || {
        ensure!(kubectl.run(&legacy).is_err(), "plaintext is refused");
        Ok(())
    })?;
    let cut_off = String::from_utf8_lossy(&applying.wait_with_output()?.stderr).into_owned();
    ensure!(cut_off.contains("callers were cut off") && cut_off.contains("legacy/curl"), "{cut_off}");
    eventually(Duration::from_secs(10), || kubectl.run(&legacy).map(drop))?;
    std::thread::sleep(Duration::from_secs(2));

    let done = cluster.run(&["mtls", "apply", "default", "--since", "1", "--watch", "2"])?;
    ensure!(done.contains("default is STRICT"), "{done}");
    ensure!(kubectl.run(&legacy).is_err(), "plaintext is refused");
    mini_mesh::answers_over_mutual_tls(&kubectl)?;

    let suggested = cluster.run(&["authz", "suggest", "--apply"])?;
    for part in ["name: allow-frontend", "cluster.local/ns/default/sa/curl", ", 0 denied", "# applied"] {
        ensure!(suggested.contains(part), "lacks {part}:\n{suggested}");
    }
    eventually(Duration::from_secs(10), || {
        let answer = ask(&kubectl, "http://frontend/other")?;
        ensure!(answer.status == "403", "only / was asked for before: {answer:?}");
        Ok(())
    })?;
    let answer = ask(&kubectl, "http://frontend/")?;
    ensure!(answer.status == "200", "{answer:?}");
    Ok(())
}
