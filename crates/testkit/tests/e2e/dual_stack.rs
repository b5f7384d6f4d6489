//! A cluster with both address families: pods, Services, names and sidecars have IPv6 beside IPv4.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use serde_json::Value;

use crate::answers::client;

const SOON: Duration = Duration::from_secs(30);

/// A server in the mesh behind Services of both families, of the second alone and without address.
const SERVERS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: meshed, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: meshed}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: hashicorp/http-echo, args: ['-text=hello', '-listen=:5678']}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: meshed}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 5678}]
---
apiVersion: v1
kind: Service
metadata: {name: web-six, namespace: meshed}
spec:
  ipFamilies: [IPv6]
  selector: {app: web}
  ports: [{name: tcp, port: 9000, targetPort: 5678}]
---
apiVersion: v1
kind: Service
metadata: {name: web-pods, namespace: meshed}
spec:
  clusterIP: None
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{name: tcp, port: 5678}]
";

/// The servers, and clients with and without sidecar.
fn world() -> String {
    [SERVERS, &client("meshed"), &client("default")].join("---\n")
}

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: meshed}
spec: {mtls: {mode: STRICT}}
";

fn is_six(text: &Value) -> bool {
    text.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()))
}

fn roll_out(kubectl: &Kubectl) -> anyhow::Result<()> {
    for namespace in ["meshed", "default"] {
        kubectl.run(&["rollout", "status", "deployment", "-n", namespace, "--timeout=120s"])?;
    }
    Ok(())
}

/// What `curl` says from a client of `namespace`, with the status at the end.
fn curl(kubectl: &Kubectl, namespace: &str, family: &str, url: &str) -> anyhow::Result<String> {
    let command = ["curl", "-s", "-m", "5", family, "-w", "%{http_code}", url];
    kubectl.run(&[&["exec", "-n", namespace, "deploy/curl", "-c", "curl", "--"], &command[..]].concat())
}

fn reaches(kubectl: &Kubectl, namespace: &str, family: &str, url: &str) -> anyhow::Result<()> {
    eventually(SOON, || {
        let said = curl(kubectl, namespace, family, url)?;
        ensure!(said == "hello\n200", "{url} over {family} from {namespace}: {said:?}");
        Ok(())
    })
}

fn objects_have_both_families(kubectl: &Kubectl) -> anyhow::Result<()> {
    let service = kubectl.get(&["service", "web", "-n", "meshed"])?;
    let ips = &service["spec"]["clusterIPs"];
    ensure!(!is_six(&ips[0]) && is_six(&ips[1]), "clusterIPs {ips}");
    let node = kubectl.get(&["node", "lateen"])?;
    ensure!(node["spec"]["podCIDRs"].as_array().is_some_and(|nets| nets.len() == 2), "podCIDRs of {node}");
    let pods = kubectl.get(&["pods", "-n", "meshed", "-l", "app=web"])?;
    let of_pod = &pods["items"][0]["status"]["podIPs"];
    ensure!(!is_six(&of_pod[0]["ip"]) && is_six(&of_pod[1]["ip"]), "podIPs {of_pod}");
    let selector = "kubernetes.io/service-name=web";
    let slices = kubectl.get(&["endpointslices", "-n", "meshed", "-l", selector])?;
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<_> = slices
        .iter()
        .map(|slice| (slice["addressType"].as_str(), slice["endpoints"][0]["addresses"][0].as_str()))
        .collect();
    found.sort_unstable();
    let expected = [(Some("IPv4"), of_pod[0]["ip"].as_str()), (Some("IPv6"), of_pod[1]["ip"].as_str())];
    ensure!(found == expected, "slices {found:?}, not {expected:?}");
    Ok(())
}

/// Names, Services and pods are reached over both families.
fn traffic_flows(kubectl: &Kubectl) -> anyhow::Result<()> {
    let pods = kubectl.get(&["pods", "-n", "meshed", "-l", "app=web"])?;
    let pod = pods["items"][0]["status"]["podIPs"][1]["ip"].as_str().unwrap_or_default().to_owned();
    for namespace in ["default", "meshed"] {
        for family in ["-4", "-6"] {
            reaches(kubectl, namespace, family, "http://web.meshed/")?;
            reaches(kubectl, namespace, family, "http://web-pods.meshed:5678/")?;
        }
        reaches(kubectl, namespace, "-6", "http://web-six.meshed:9000/")?;
        reaches(kubectl, namespace, "-6", &format!("http://[{pod}]:5678/"))?;
    }
    let refused = curl(kubectl, "default", "-4", "http://web-six.meshed:9000/");
    ensure!(refused.is_err(), "a Service of one family answered in the other: {refused:?}");
    Ok(())
}

/// Both ends' sidecars take the second family: where mutual TLS is required, only clients with a sidecar get through.
fn sidecars_take_both(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.apply_text(STRICT)?;
    for family in ["-4", "-6"] {
        eventually(SOON, || {
            let said = curl(kubectl, "default", family, "http://web.meshed/");
            ensure!(said.is_err(), "without a sidecar, over {family}: {said:?}");
            Ok(())
        })?;
        reaches(kubectl, "meshed", family, "http://web.meshed/")?;
    }
    reaches(kubectl, "meshed", "-6", "http://web-six.meshed:9000/")?;
    reaches(kubectl, "meshed", "-6", "http://web-pods.meshed:5678/")
}

#[test]
fn pods_services_names_and_sidecars_have_both_families() -> anyhow::Result<()> {
    let cluster = Cluster::start_with(User::Root, &["--dual-stack"])?;
    let kubectl = cluster.kubectl();
    kubectl.apply_text(&world())?;
    roll_out(&kubectl)?;
    objects_have_both_families(&kubectl)?;
    traffic_flows(&kubectl)?;
    sidecars_take_both(&kubectl)?;
    // It stays as it is without being asked again.
    cluster.down()?;
    cluster.up()?;
    roll_out(&kubectl)?;
    reaches(&kubectl, "meshed", "-6", "http://web.meshed/")
}

#[test]
fn an_ordinary_user_has_both_families_too() -> anyhow::Result<()> {
    let cluster = Cluster::start_with(User::Nobody, &["--dual-stack"])?;
    let kubectl = cluster.kubectl();
    kubectl.apply_text(&world())?;
    roll_out(&kubectl)?;
    traffic_flows(&kubectl)?;
    sidecars_take_both(&kubectl)
}
