//! The one node as the API shows it, and its heartbeat.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::{Client, PatchType, Status, gvr};
use serde_json::{Value, json};

use crate::clock::{micro_stamp, stamp};
use crate::network::{NODE_IP, both, pod_nets};
use crate::{KUBELET_VERSION, NODE_NAME};

/// The zone that the node is in.
pub(crate) const ZONE: &str = "local";
const BEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u64 = 40;
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What the machine has to offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
}

impl Machine {
    pub(crate) fn read() -> Machine {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Machine { cpus, memory: total_memory(&info) }
    }
}

/// `MemTotal` of `/proc/meminfo` in bytes.
fn total_memory(info: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Registers the node and says that it is ready.
pub(crate) async fn register(client: &Client, machine: Machine, dual_stack: bool) -> Result<Arc<Value>, Status> {
    let nets: Vec<String> = pod_nets(dual_stack).iter().map(ToString::to_string).collect();
    let labels = json!({
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture(),
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": architecture(),
        "node-role.kubernetes.io/control-plane": "",
        "topology.kubernetes.io/region": "local",
        "topology.kubernetes.io/zone": ZONE,
    });
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": labels},
        "spec": {"podCIDR": nets.first(), "podCIDRs": nets},
    });
    match client.create(&gvr::NODES, "", node).await {
        Ok(_) => {}
        Err(status) if status.code == 409 => {
            let patch = json!({"metadata": {"labels": labels}, "spec": {"podCIDRs": nets}});
            client.patch(&gvr::NODES, "", NODE_NAME, PatchType::Merge, &patch, None).await?;
        }
        Err(status) => return Err(status),
    }
    let status = json!({"status": status(machine, dual_stack, Timestamp::now())});
    client.patch(&gvr::NODES, "", NODE_NAME, PatchType::Merge, &status, Some("status")).await
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(machine: Machine, dual_stack: bool, now: Timestamp) -> Value {
    let internal = |ip: IpAddr| json!({"type": "InternalIP", "address": ip.to_string()});
    let hostname = json!({"type": "Hostname", "address": NODE_NAME});
    let addresses: Vec<_> = both(NODE_IP, dual_stack).into_iter().map(internal).chain([hostname]).collect();
    let now = stamp(now);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
               "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let resources = json!({
        "cpu": machine.cpus.to_string(),
        "memory": format!("{}Ki", machine.memory / 1024),
        "pods": "1000",
        "ephemeral-storage": "0",
    });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": addresses,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": kernel.trim(),
            "osImage": os_image(),
            "containerRuntimeVersion": format!("lateen://{}", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": KUBELET_VERSION,
            "operatingSystem": "linux",
            "architecture": architecture(),
        },
    })
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// Renews the node's lease for ever.
pub(crate) async fn beat(client: Client) {
    let mut ticks = tokio::time::interval(BEAT);
    loop {
        ticks.tick().await;
        if let Err(error) = renew(&client).await {
            tracing::warn!(%error, "cannot renew the node's lease");
        }
    }
}

async fn renew(client: &Client) -> Result<(), Status> {
    let now = micro_stamp(Timestamp::now());
    let patch = json!({"spec": {"renewTime": now}});
    let renewed = client.patch(&gvr::LEASES, LEASE_NAMESPACE, NODE_NAME, PatchType::Merge, &patch, None).await;
    match renewed {
        Err(status) if status.code == 404 => {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": NODE_NAME, "namespace": LEASE_NAMESPACE},
                "spec": {"holderIdentity": NODE_NAME, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
            });
            client.create(&gvr::LEASES, LEASE_NAMESPACE, lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read() {
        assert_eq!(total_memory("MemTotal:       100 kB\nMemFree: 5 kB\n"), 102_400);
        assert_eq!(total_memory(""), 0);
    }
}
