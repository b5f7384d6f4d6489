//! A stock Envoy as a sidecar of this mesh: same control plane, same behaviour, mutual TLS with Lateen's own both ways.

use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;

use crate::answers::ask;
use crate::mini_mesh;

const ENVOY: &str = ".tools/envoy-1.40.0";

/// A server and a client whose sidecar is the real Envoy, kept by `lateen proxy agent`.
fn manifest(folder: &str) -> String {
    let volume = format!(r#"[{{"name":"envoy","hostPath":{{"path":"{folder}"}}}}]"#);
    let mount = r#"[{"name":"envoy","mountPath":"/opt/envoy","readOnly":true}]"#;
    let deployment = |name: &str, container: &str| {
        format!(
            r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations:
        sidecar.istio.io/userVolume: '{volume}'
        sidecar.istio.io/userVolumeMount: '{mount}'
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 0
      containers:
      {container}
      - name: istio-proxy
        image: auto
        args: [proxy, agent, --, /opt/envoy/envoy]
---"#
        )
    };
    let server = deployment(
        "envoy-echo",
        "- {name: echo, image: hashicorp/http-echo, args: ['-text=behind Envoy'], ports: [{containerPort: 5678}]}",
    );
    let client = deployment("envoy-curl", "- {name: curl, image: curlimages/curl, command: [sleep, infinity]}");
    format!(
        "{server}\n{client}\napiVersion: v1\nkind: Service\nmetadata: {{name: envoy-echo}}\nspec:\n  selector: {{app: envoy-echo}}\n  ports: [{{name: http, port: 80, targetPort: 5678}}]\n"
    )
}

#[test]
fn a_stock_envoy_in_the_mesh() -> anyhow::Result<()> {
    let folder = repository().join(ENVOY);
    ensure!(folder.join("envoy").is_file(), "no Envoy in {}: run scripts/setup.sh test", folder.display());
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    kubectl.apply_text(&manifest(&folder.display().to_string()))?;
    for app in ["envoy-echo", "envoy-curl"] {
        kubectl.wait_ready(&format!("app={app}"))?;
    }
    lateen_calls_envoy(&kubectl).context("Lateen's sidecar calls Envoy's")?;
    envoy_calls_lateen(&kubectl).context("Envoy's sidecar calls Lateen's")?;
    strict_changes_nothing(&kubectl).context("STRICT")?;
    tls_as_the_mesh_says(&kubectl).context("TLS settings of the mesh")?;
    nothing_was_refused(&cluster)
}

fn lateen_calls_envoy(kubectl: &Kubectl) -> anyhow::Result<()> {
    eventually(Duration::from_secs(15), || {
        let answer = ask(kubectl, "http://envoy-echo/")?;
        ensure!(answer.status == "200" && answer.body.contains("behind Envoy"), "{answer:?}");
        Ok(())
    })
}

fn from_envoy(kubectl: &Kubectl, args: &[&str]) -> anyhow::Result<String> {
    let command = [&["exec", "deploy/envoy-curl", "-c", "curl", "--", "curl", "-s", "-m", "10"], args].concat();
    kubectl.run(&command)
}

/// The same requests reach the same places as from Lateen's own sidecar.
fn envoy_calls_lateen(kubectl: &Kubectl) -> anyhow::Result<()> {
    for (service, text) in
        [("frontend", "Frontend Calls Backend"), ("db", "DB Response"), ("envoy-echo", "behind Envoy")]
    {
        eventually(Duration::from_secs(15), || {
            let body = from_envoy(kubectl, &[&format!("http://{service}/")])?;
            ensure!(body.contains(text), "{service}: {body}");
            Ok(())
        })?;
    }
    mini_mesh::routes_by_header(kubectl)?;
    eventually(Duration::from_secs(10), || {
        let body = from_envoy(kubectl, &["-H", "x-version: v2", "http://backend/"])?;
        ensure!(body.contains("v2"), "with the header: {body}");
        let body = from_envoy(kubectl, &["http://backend/"])?;
        ensure!(body.contains("v1"), "without it: {body}");
        Ok(())
    })
}

/// With plaintext refused everywhere, both directions still work: it was mutual TLS all along.
fn strict_changes_nothing(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.apply(&repository().join("samples/guide/peer-authentication.yaml"))?;
    std::thread::sleep(Duration::from_secs(2));
    lateen_calls_envoy(kubectl)?;
    envoy_calls_lateen(kubectl)
}

/// Only TLS 1.3 between the two, and ciphers of which one is nobody's: both take it, and still talk.
fn tls_as_the_mesh_says(kubectl: &Kubectl) -> anyhow::Result<()> {
    const SETTINGS: &str = "\nmeshMTLS: {minProtocolVersion: TLSV1_3, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384, NOBODYS]}\n\
        tlsDefaults: {ecdhCurves: [X25519MLKEM768, P-256], cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}\n";
    let map = kubectl.get(&["configmap", "istio", "-n", "istio-system"])?;
    let mesh = map["data"]["mesh"].as_str().context("the mesh's settings")?;
    let patch = serde_json::json!({ "data": { "mesh": format!("{mesh}{SETTINGS}") } }).to_string();
    kubectl.run(&["patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "--patch", &patch])?;
    for app in ["envoy-curl", "curl"] {
        eventually(Duration::from_secs(15), || {
            let target = format!("deploy/{app}");
            let request = ["exec", &target, "-c", "curl", "--", "curl", "-s", "http://127.0.0.1:15000/config_dump"];
            let dump: String = kubectl.run(&request)?.split_whitespace().collect();
            let told = dump.contains(r#""tls_minimum_protocol_version":"TLSv1_3""#);
            ensure!(told, "{app} has not heard of it");
            ensure!(!dump.contains("NOBODYS"), "{app} was told of a cipher that nobody knows");
            Ok(())
        })?;
    }
    lateen_calls_envoy(kubectl)?;
    envoy_calls_lateen(kubectl)
}

/// Envoy took every resource.
fn nothing_was_refused(cluster: &Cluster) -> anyhow::Result<()> {
    let status = cluster.run(&["proxy-status"])?;
    for app in ["envoy-echo-", "envoy-curl-"] {
        let line = status.lines().find(|line| line.contains(app)).context("Envoy is connected")?;
        ensure!(!line.contains("ERROR") && line.contains("SYNCED"), "{line}");
    }
    Ok(())
}
