//! The world of the cases: the Gateway API's own definitions, its base manifests and certificates.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::eventually;
use lateen_testkit::kubectl::Kubectl;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(120);

/// Secrets that the cases expect: namespace, name and names in the certificate.
const CERTIFICATES: [(&str, &str, &str); 5] = [
    ("gateway-conformance-web-backend", "certificate", "DNS:*"),
    ("gateway-conformance-infra", "tls-validity-checks-certificate", "DNS:*,DNS:*.org"),
    ("gateway-conformance-infra", "tls-passthrough-checks-certificate", "DNS:abc.example.com"),
    ("gateway-conformance-app-backend", "tls-passthrough-checks-certificate", "DNS:abc.example.com"),
    ("gateway-conformance-infra", "tls-checks-certificate", "DNS:abc.example.com,DNS:other.example.com"),
];

/// Applies everything and waits until the backends of all cases are ready.
pub fn apply(kubectl: &Kubectl, folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder.join("../spec/gateway-api-standard"))? {
        let path = entry?.path();
        if !path.to_string_lossy().contains("vap_") {
            let path = path.display().to_string();
            kubectl.run(&["apply", "--server-side", "--force-conflicts", "-f", &path])?;
        }
    }
    feed(kubectl, &["apply", "-f", "-"], &[folder.join("base/manifests.yaml")])?;
    certificates(kubectl)?;
    for namespace in ["infra", "app-backend", "web-backend"].map(|name| format!("gateway-conformance-{name}")) {
        let deployments = kubectl.run(&["get", "deployments", "-n", &namespace, "-o", "name"])?;
        // CoreDNS is for cases of UDP, which is not served.
        for deployment in deployments.lines().filter(|name| !name.ends_with("/coredns")) {
            let timeout = format!("--timeout={}s", SOON.as_secs());
            kubectl.run(&["rollout", "status", "-n", &namespace, deployment, &timeout])?;
        }
    }
    eventually(SOON, || {
        let gateways = kubectl.run(&["get", "gateways.gateway.networking.k8s.io", "-A", "--no-headers"])?;
        let ready = gateways.lines().count() >= 4 && gateways.lines().all(|line| line.contains("True"));
        ensure!(ready, "gateways are not ready:\n{gateways}");
        Ok(())
    })
}

fn certificates(kubectl: &Kubectl) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (ca_key, ca) = (file("ca.key"), file("ca.crt"));
    certificate(&ca_key, &ca, &["-addext", "keyUsage=critical,keyCertSign"])?;
    let from = format!("--from-file=ca.crt={ca}");
    for name in ["tls-checks-ca-certificate", "tls-validity-checks-ca-certificate"] {
        kubectl.run(&["create", "configmap", "-n", "gateway-conformance-infra", name, &from])?;
    }
    for (namespace, name, names) in CERTIFICATES {
        let (key, cert, names) = (file("key.pem"), file("cert.pem"), format!("subjectAltName={names}"));
        let leaf = "basicConstraints=critical,CA:FALSE";
        certificate(&key, &cert, &["-CA", &ca, "-CAkey", &ca_key, "-addext", leaf, "-addext", &names])?;
        let (key, cert) = (format!("--key={key}"), format!("--cert={cert}"));
        kubectl.run(&["create", "secret", "tls", "-n", namespace, name, &key, &cert])?;
    }
    Ok(())
}

fn certificate(key: &str, cert: &str, args: &[&str]) -> anyhow::Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", "/CN=conformance"])
        .args(["-keyout", key, "-out", cert])
        .args(args)
        .output()
        .context("openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// Deletes the ReferenceGrants of a case.
pub fn delete_grants(kubectl: &Kubectl, files: &[PathBuf]) -> anyhow::Result<()> {
    for file in files {
        for object in documents(file)?.into_iter().filter(|object| object["kind"] == "ReferenceGrant") {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            kubectl.run(&[
                "delete",
                "--ignore-not-found",
                "referencegrant",
                "-n",
                &text("namespace"),
                &text("name"),
            ])?;
        }
    }
    Ok(())
}

/// All objects of a file.
pub fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    let all = serde_saphyr::from_multiple::<Value>(&text);
    let all = all.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(all.into_iter().filter(Value::is_object).collect())
}

/// `kubectl ARGS` with files whose placeholders are filled.
pub fn feed(kubectl: &Kubectl, args: &[&str], files: &[PathBuf]) -> anyhow::Result<()> {
    let mut text = String::new();
    for file in files {
        text.push_str("---\n");
        text.push_str(&std::fs::read_to_string(file).with_context(|| file.display().to_string())?);
        text.push('\n');
    }
    let text = text.replace("{GATEWAY_CLASS_NAME}", "istio");
    let mut command = kubectl.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
