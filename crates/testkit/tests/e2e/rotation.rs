//! Certificates change under load and nobody notices.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::load::Load;
use serde_json::{Value, json};

use crate::mini_mesh;

/// Every workload of the sample.
const APPS: [&str; 4] = ["curl", "frontend", "backend-v1", "db"];

/// Certificates for eight seconds, renewed when half of that has passed, as a user sets it for one workload.
const SHORT_LIVED: &str = r#"{"spec":{"template":{"metadata":{"annotations":{
    "proxy.istio.io/config":"proxyMetadata:\n  SECRET_TTL: 8s\n"}}}}}"#;

#[test]
fn certificates_rotate_under_load() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    for app in ["curl", "frontend"] {
        kubectl.run(&["patch", "deployment", app, "--patch", SHORT_LIVED])?;
        kubectl.run(&["rollout", "status", "deployment", app, "--timeout=60s"])?;
        eventually(Duration::from_secs(40), || {
            let pods = kubectl.run(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"])?;
            ensure!(pods.lines().count() == 1, "the pods of before still end: {pods}");
            Ok(())
        })?;
    }
    let load = Load::start(&kubectl, &["deploy/curl"], "http://frontend/")?;
    let mut seen = BTreeSet::new();
    eventually(Duration::from_secs(60), || {
        for app in ["curl", "frontend"] {
            seen.insert((app, serial(&kubectl, app)?));
        }
        for app in ["curl", "frontend"] {
            let certificates = seen.iter().filter(|(of, _)| *of == app).count();
            ensure!(certificates >= 4, "{app} has had {certificates} certificates");
        }
        Ok(())
    })?;
    let outcome = load.stop()?;
    ensure!(outcome.failed.is_empty(), "requests failed while certificates changed: {outcome:?}");
    ensure!(outcome.ok > 20, "the load was no load: {outcome:?}");
    mini_mesh::answers_over_mutual_tls(&kubectl)
}

/// The root made by istiod gives way to a new one, that to one by Secret `cacerts`, and nobody notices.
#[test]
fn the_root_changes_under_load() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    // Longer than files of ConfigMaps take to arrive.
    kubectl.run(&["set", "env", "-n", "istio-system", "deploy/istiod", "LATEEN_CA_ROOT_ANNOUNCEMENT=25s"])?;
    kubectl.run(&["rollout", "status", "-n", "istio-system", "deploy/istiod", "--timeout=60s"])?;
    mini_mesh::apply(&kubectl)?;
    let load = Load::start(&kubectl, &["deploy/curl"], "http://frontend/")?;

    let old = trusted(&kubectl)?;
    kubectl.run(&["annotate", "secret", "-n", "istio-system", "istio-ca-secret", "lateen.dev/rotate-root=now"])?;
    let both = signs_under_another(&kubectl, &old)?;
    ensure!(both.len() == 2 && both.contains(&old[0]), "the root of before is trusted still: {both:?}");
    // Everybody has a certificate under the new root: the old one can go.
    let only = json!({ "stringData": { "root-cert.pem": both[0] } }).to_string();
    kubectl.run(&["patch", "secret", "-n", "istio-system", "istio-ca-secret", "--patch", &only])?;
    eventually(Duration::from_secs(60), || {
        for app in APPS {
            let certs = certificates(&kubectl, app)?;
            ensure!(certs["ca_cert"].as_array().is_some_and(|roots| roots.len() == 1), "{app} trusts {certs}");
        }
        Ok(())
    })?;
    mini_mesh::answers_over_mutual_tls(&kubectl)?;

    plug_in(&cluster, &kubectl)?;
    signs_under_another(&kubectl, &both)?;
    for app in APPS {
        let certs = certificates(&kubectl, app)?;
        let chain = certs["cert_chain"].as_array().map(Vec::len);
        ensure!(chain == Some(2), "{app} presents its certificate and the intermediate: {certs}");
    }
    let outcome = load.stop()?;
    ensure!(outcome.failed.is_empty(), "requests failed while the root changed: {outcome:?}");
    ensure!(outcome.ok > 100, "the load was no load: {outcome:?}");
    mini_mesh::answers_over_mutual_tls(&kubectl)
}

/// The roots that namespaces are told to trust, PEM; that of the signer first.
fn trusted(kubectl: &Kubectl) -> anyhow::Result<Vec<String>> {
    let map = kubectl.get(&["configmap", "istio-ca-root-cert"])?;
    let text = map["data"]["root-cert.pem"].as_str().context("no roots")?;
    Ok(text.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect())
}

/// Waits until another root than the first of `before` signs and every workload has a certificate under it; returns the
/// roots trusted then.
fn signs_under_another(kubectl: &Kubectl, before: &[String]) -> anyhow::Result<Vec<String>> {
    // As they were when the root of before still signed.
    let mut serials: Option<Vec<String>> = None;
    let now = eventually(Duration::from_secs(90), || {
        let current = APPS.iter().map(|app| serial(kubectl, app)).collect::<anyhow::Result<_>>()?;
        let now = trusted(kubectl)?;
        if now[0] == before[0] {
            serials = Some(current);
            bail!("the root of before still signs");
        }
        Ok(now)
    })?;
    let serials = serials.context("the root changed before anybody could be told")?;
    eventually(Duration::from_secs(90), || {
        for (app, old) in APPS.iter().zip(&serials) {
            ensure!(serial(kubectl, app)? != *old, "{app} has its certificate of before");
        }
        Ok(())
    })?;
    Ok(now)
}

/// Makes Secret `cacerts` of an RSA root and an intermediate, as Istio's users do.
fn plug_in(cluster: &Cluster, kubectl: &Kubectl) -> anyhow::Result<()> {
    const SCRIPT: &str = r#"
        printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n' > ext
        openssl req -x509 -newkey rsa:2048 -nodes -keyout root-key.pem -out root-cert.pem -days 30 -subj /O=shop/CN=root
        openssl req -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.csr -subj /O=shop/CN=intermediate
        openssl x509 -req -in ca.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -days 20 -extfile ext -out ca-cert.pem
        cat ca-cert.pem root-cert.pem > cert-chain.pem"#;
    let folder = cluster.home().join("plugged-in");
    std::fs::create_dir_all(&folder)?;
    let made = std::process::Command::new("bash").args(["-ec", SCRIPT]).current_dir(&folder).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut args = ["create", "secret", "generic", "cacerts", "-n", "istio-system"].map(str::to_owned).to_vec();
    for file in ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"] {
        args.push(format!("--from-file={}", folder.join(file).display()));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    kubectl.run(&args).map(drop)
}

/// What an app's sidecar presents and trusts now.
fn certificates(kubectl: &Kubectl, app: &str) -> anyhow::Result<Value> {
    let target = format!("deploy/{app}");
    let request = ["exec", &target, "-c", "istio-proxy", "--", "lateen", "request", "GET", "15000", "/certs"];
    let text = kubectl.run(&request)?;
    let certs: Value = serde_json::from_str(&text)?;
    Ok(certs["certificates"][0].clone())
}

/// The serial number of the certificate that the app's sidecar presents now.
fn serial(kubectl: &Kubectl, app: &str) -> anyhow::Result<String> {
    let certs = certificates(kubectl, app)?;
    let serial = certs["cert_chain"][0]["serial_number"].as_str();
    serial.map(str::to_owned).with_context(|| format!("no certificate in {certs}"))
}
