//! The guide's own manifests, unchanged, in the guide's order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;

use crate::answers::ask;

/// The guide's manifests as they stand in its text; the test suite carries its own copy of the three deployments.
fn manifests() -> PathBuf {
    repository().join("samples/guide")
}

#[test]
fn the_guide_from_module_3_to_11() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    without_injection(&kubectl)?;
    with_injection(&kubectl)?;
    the_wrong_port_is_explained(&kubectl)?;
    strict_mtls_and_routing_apply(&kubectl)?;
    kubectl.run(&["delete", "-f", &manifests().display().to_string()])?;
    eventually(Duration::from_secs(40), || {
        let pods = kubectl.run(&["get", "pods", "-l", "app in (frontend,backend,db)", "-o", "name"])?;
        ensure!(pods.trim().is_empty(), "still there: {pods}");
        Ok(())
    })
}

/// Module 3: before the namespace is labelled, pods have their own container only.
fn without_injection(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.apply(&manifests().join("db.yaml"))?;
    kubectl.wait_ready("app=db")?;
    let pods = kubectl.run(&["get", "pods", "-l", "app=db"])?;
    ensure!(pods.contains("1/1"), "{pods}");
    Ok(())
}

/// Module 4: label, delete, re-apply; only now do the pods get a sidecar.
fn with_injection(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&["label", "ns", "default", "istio-injection=enabled", "--overwrite"])?;
    let pods = kubectl.run(&["get", "pods", "-l", "app=db"])?;
    ensure!(pods.contains("1/1"), "labelling must not touch running pods: {pods}");
    kubectl.run(&["delete", "-f", &manifests().join("db.yaml").display().to_string()])?;
    for file in ["db.yaml", "backend.yaml", "frontend.yaml"] {
        kubectl.apply(&manifests().join(file))?;
    }
    for app in ["db", "backend", "frontend"] {
        kubectl.wait_ready(&format!("app={app}"))?;
        let selector = format!("app={app}");
        eventually(Duration::from_secs(40), || {
            let pods = kubectl.run(&["get", "pods", "-l", &selector, "--no-headers"])?;
            ensure!(pods.lines().count() == 1 && pods.contains("2/2"), "{pods}");
            Ok(())
        })?;
    }
    let described = kubectl.run(&["describe", "pod", "-l", "app=db"])?;
    for part in ["istio-init", "istio-proxy", "hashicorp/http-echo", "Events:", "Started"] {
        ensure!(described.contains(part), "`kubectl describe` lacks {part}:\n{described}");
    }
    Ok(())
}

/// The guide's Services send port 80 to a container that listens on 5678: the answer says so.
fn the_wrong_port_is_explained(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.apply(&repository().join("samples/mini-mesh/curl.yaml"))?;
    kubectl.wait_ready("app=curl")?;
    let address = kubectl.run(&["get", "pods", "-l", "app=db", "-o", "jsonpath={.items[0].status.podIP}"])?;
    let answer = ask(kubectl, "http://db/")?;
    ensure!(answer.status == "503", "{answer:?}");
    ensure!(answer.body.lines().count() == 1, "one line: {answer:?}");
    let refused = format!("{address}:80");
    for part in ["connection refused", &refused, "Service `db`", "no container", "did you mean `targetPort: 5678`"] {
        ensure!(answer.body.contains(part), "the body lacks `{part}`: {}", answer.body);
    }
    Ok(())
}

/// Modules 5 and 6: the guide's VirtualService, PeerAuthentication and DestinationRule apply and do what they say.
fn strict_mtls_and_routing_apply(kubectl: &Kubectl) -> anyhow::Result<()> {
    for file in ["virtual-service.yaml", "peer-authentication.yaml", "destination-rule.yaml"] {
        kubectl.apply(&manifests().join(file))?;
    }
    kubectl.run(&[
        "patch",
        "service",
        "frontend",
        "--type=merge",
        "-p",
        r#"{"spec":{"ports":[{"port":80,"targetPort":5678}]}}"#,
    ])?;
    eventually(Duration::from_secs(10), || {
        let answer = ask(kubectl, "http://frontend/")?;
        ensure!(answer.status == "200" && answer.body.contains("Frontend Calls Backend"), "{answer:?}");
        Ok(())
    })?;
    plaintext_is_refused(kubectl).context("STRICT")
}

/// A pod without sidecar speaks plaintext; under STRICT it gets no answer at all.
fn plaintext_is_refused(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&["create", "namespace", "legacy"])?;
    kubectl.run(&[
        "apply",
        "-n",
        "legacy",
        "-f",
        &repository().join("samples/mini-mesh/curl.yaml").display().to_string(),
    ])?;
    eventually(Duration::from_secs(30), || {
        kubectl.run(&["wait", "-n", "legacy", "pod", "--for=condition=Ready", "-l", "app=curl", "--timeout=30s"])
    })?;
    eventually(Duration::from_secs(10), || {
        let outcome = kubectl
            .command(&[
                "exec",
                "-n",
                "legacy",
                "deploy/curl",
                "--",
                "curl",
                "-s",
                "-m",
                "5",
                "http://frontend.default/",
            ])
            .output()?;
        ensure!(!outcome.status.success(), "plaintext got an answer: {}", String::from_utf8_lossy(&outcome.stdout));
        Ok(())
    })
}
