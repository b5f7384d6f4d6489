//! The ingress gateway, as clients outside the cluster find it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::forwarded::Forwarded;
use crate::kubectl::Kubectl;

/// Where gateways run.
const NAMESPACE: &str = "istio-system";
/// The port of a proxy that tells what it has.
const ADMIN: u16 = 15000;
/// How long the proxy may take to tell.
const PATIENCE: Duration = Duration::from_secs(5);

/// A gateway with ports on this machine.
pub struct Ingress {
    admin: Forwarded,
    /// By port of the Service.
    node_ports: BTreeMap<u64, u16>,
}

impl Ingress {
    pub(super) fn open(kubectl: &Kubectl, name: &str) -> anyhow::Result<Self> {
        let service = kubectl.get(&["service", name, "-n", NAMESPACE])?;
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let of_node = |port: &Value| Some((port["port"].as_u64()?, u16::try_from(port["nodePort"].as_u64()?).ok()?));
        let node_ports = ports.filter_map(of_node).collect();
        let admin = Forwarded::open(kubectl, NAMESPACE, &format!("deployment/{name}"), ADMIN)?;
        Ok(Self { admin, node_ports })
    }

    /// Where this machine reaches a port of the gateway's Service.
    #[must_use]
    pub fn address(&self, port: u16) -> Option<SocketAddr> {
        let node_port = self.node_ports.get(&u64::from(port))?;
        Some((Ipv4Addr::LOCALHOST, *node_port).into())
    }

    /// The clusters that the gateway's proxy knows, as its admin port tells them.
    ///
    /// # Errors
    /// When the proxy does not answer.
    pub fn clusters(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.admin.address()).context("the gateway's admin port")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /clusters HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// A gateway that the labels of Istio's security tests select: `app` is not the name that installations give it.
pub(super) fn objects(name: &str) -> [Value; 2] {
    let labels = json!({"app": name, "istio": "ingressgateway"});
    let mut of_pods = labels.clone();
    of_pods["sidecar.istio.io/inject"] = json!("true");
    let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": labels});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": of_pods, "annotations": {"inject.istio.io/templates": "gateway"}},
            "spec": {
                "serviceAccountName": "istio-ingressgateway-service-account",
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "istio-proxy", "image": "auto"}],
            },
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"type": "NodePort", "selector": labels, "ports": [
            {"name": "http2", "port": 80, "targetPort": 8080}, {"name": "https", "port": 443, "targetPort": 8443},
        ]},
    });
    [deployment, service]
}
