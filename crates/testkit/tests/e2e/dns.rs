//! A sidecar that answers DNS itself: names that only the mesh knows, and short names by the pod's search domains.

use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};

use crate::mini_mesh;

/// A client with DNS capture, and a name that no DNS server has.
fn manifest(address: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: dns-curl}}
spec:
  selector: {{matchLabels: {{app: dns-curl}}}}
  template:
    metadata:
      labels: {{app: dns-curl}}
      annotations:
        proxy.istio.io/config: '{{"proxyMetadata": {{"ISTIO_META_DNS_CAPTURE": "true"}}}}'
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: curl, image: curlimages/curl, command: [sleep, infinity]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: made-up}}
spec:
  hosts: [made-up.example]
  addresses: [240.11.22.33]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 5678}}]
  endpoints: [{{address: {address}}}]
"#
    )
}

#[test]
fn the_sidecar_answers_dns() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    let address = kubectl.run(&["get", "pods", "-l", "app=db", "-o", "jsonpath={.items[0].status.podIP}"])?;
    kubectl.apply_text(&manifest(&address))?;
    kubectl.wait_ready("app=dns-curl")?;
    for url in ["http://made-up.example/", "http://db/", "http://db.default/", "http://db.default.svc.cluster.local/"] {
        eventually(Duration::from_secs(10), || {
            let command = ["exec", "deploy/dns-curl", "-c", "curl", "--", "curl", "-s", "-m", "5", url];
            let body = kubectl.run(&command)?;
            ensure!(body.contains("DB Response"), "{url}: {body}");
            Ok(())
        })?;
    }
    let without = kubectl.exec("deploy/curl", &["curl", "-s", "-m", "5", "http://made-up.example/"]);
    ensure!(without.is_err(), "a pod without DNS capture can't know the name: {without:?}");
    Ok(())
}
