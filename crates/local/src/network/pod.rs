//! Making a pod's network, IPC and UTS namespaces: a stage of its own, because a thread of the
//! node agent can't enter a namespace for others.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::RouteScope;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};
use serde::{Deserialize, Serialize};

use super::{GATEWAY, GATEWAY_6, LOOPBACK, NODE_IP, POD_NET_6, SERVICE_NET_6, add_second, second, sysctl};
use crate::reexec::Stage;
use crate::stage::{self, Output};

/// All ends of pod links in the sandbox share one hardware address: each link has two ends only.
const GATEWAY_MAC: [u8; 6] = [0xee, 0xee, 0xee, 0xee, 0xee, 0xee];
const KINDS: [&str; 3] = ["net", "ipc", "uts"];

/// What a pod's network is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PodNetwork {
    /// Where the namespaces are pinned.
    pub(crate) namespaces: PathBuf,
    pub(crate) hostname: String,
    /// Its own address; none for a pod in the node's own network.
    pub(crate) address: Option<Ipv4Addr>,
    /// Whether it has the address of the second family that goes with it.
    pub(crate) dual_stack: bool,
}

/// Makes the namespaces and connects them.
pub(crate) async fn create(network: &PodNetwork) -> Result<(), String> {
    stage::ask(Stage::PodSandbox, network, Output::inherit()).await
}

/// Unpins the namespaces; they go with the last process in them.
pub(crate) fn remove(namespaces: &Path) {
    for kind in KINDS {
        let _ = umount2(&namespaces.join(kind), MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(namespaces);
}

pub(crate) fn main() -> ExitCode {
    let Ok((network, socket)) = stage::asked::<PodNetwork>() else { return ExitCode::from(2) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(build(&network)),
        Err(e) => Err(e.to_string()),
    };
    stage::answer(&socket, result)
}

async fn build(network: &PodNetwork) -> Result<(), String> {
    let (connection, outside, _) = new_connection().map_err(|e| format!("netlink: {e}"))?;
    tokio::spawn(connection);
    let sandbox = File::open("/proc/self/ns/net").map_err(|e| format!("open namespace: {e}"))?;
    let mut namespaces = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if network.address.is_some() {
        namespaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(namespaces).map_err(|e| format!("make the pod's namespaces: {e}"))?;
    sethostname(&network.hostname).map_err(|e| format!("set the host name: {e}"))?;
    if let Some(address) = network.address {
        sysctl::pod(network.dual_stack);
        let (connection, inside, _) = new_connection().map_err(|e| format!("netlink: {e}"))?;
        tokio::spawn(connection);
        let connected = async {
            let (outer, inner) = connect(&outside, &inside, &sandbox, address).await?;
            if network.dual_stack {
                second_outside(&outside, outer, address).await?;
                second_inside(&inside, inner, address).await?;
            }
            Ok(())
        };
        connected.await.map_err(|e: rtnetlink::Error| format!("connect the pod's network: {e}"))?;
    }
    pin(&network.namespaces).map_err(|e| format!("pin the pod's namespaces: {e}"))
}

fn pin(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for kind in KINDS {
        let path = directory.join(kind);
        File::create(&path)?;
        let own = format!("/proc/self/ns/{kind}");
        mount(Some(own.as_str()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}

/// Name of the sandbox's end of a pod's link.
fn link_name(address: Ipv4Addr) -> String {
    let [_, _, c, d] = address.octets();
    format!("pod-{c}-{d}")
}

fn pod_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// Makes the link and gives each end its address and routes; the ends' numbers.
async fn connect(
    outside: &Handle,
    inside: &Handle,
    sandbox: &File,
    address: Ipv4Addr,
) -> Result<(u32, u32), rtnetlink::Error> {
    let name = link_name(address);
    inside.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
    let mac = pod_mac(address).to_vec();
    inside.link().add(LinkVeth::new("eth0", &name).address(mac).build()).execute().await?;
    let gateway = GATEWAY_MAC.to_vec();
    let peer = LinkUnspec::new_with_name(&name).address(gateway).setns_by_fd(sandbox.as_raw_fd());
    inside.link().set(peer.build()).execute().await?;
    let (outer, inner) = (index(outside, &name).await?, index(inside, "eth0").await?);
    outside_end(outside, outer, address).await?;
    inside_end(inside, inner, address).await?;
    Ok((outer, inner))
}

async fn index(handle: &Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    use futures::TryStreamExt;
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await?;
    Ok(link.map_or(0, |link| link.header.index))
}

async fn outside_end(handle: &Handle, link: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    handle.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await?;
    neighbour(handle, link, address.into(), &pod_mac(address)).await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .output_interface(link)
        .scope(RouteScope::Link)
        .pref_source(NODE_IP);
    handle.route().add(route.build()).execute().await
}

async fn inside_end(handle: &Handle, link: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    handle.address().add(link, IpAddr::V4(address), 32).execute().await?;
    handle.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await?;
    neighbour(handle, link, GATEWAY.into(), &GATEWAY_MAC).await?;
    let gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(GATEWAY, 32)
        .output_interface(link)
        .scope(RouteScope::Link);
    handle.route().add(gateway.build()).execute().await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY).output_interface(link);
    handle.route().add(default.build()).execute().await
}

async fn second_outside(handle: &Handle, link: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    neighbour(handle, link, second(address).into(), &pod_mac(address)).await?;
    let route = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(second(address), 128)
        .output_interface(link)
        .pref_source(second(NODE_IP));
    handle.route().add(route.build()).execute().await
}

/// The second family leads to pods and Services only: what is elsewhere is unreachable at once, so that clients turn
/// to the first without waiting.
async fn second_inside(handle: &Handle, link: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    add_second(handle, link, second(address)).await?;
    neighbour(handle, link, GATEWAY_6.into(), &GATEWAY_MAC).await?;
    for (network, prefix) in [POD_NET_6, SERVICE_NET_6] {
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(network, prefix)
            .gateway(GATEWAY_6)
            .output_interface(link);
        handle.route().add(route.build()).execute().await?;
    }
    Ok(())
}

async fn neighbour(handle: &Handle, link: u32, address: IpAddr, mac: &[u8]) -> Result<(), rtnetlink::Error> {
    handle
        .neighbours()
        .add(link, address)
        .link_layer_address(mac)
        .state(NeighbourState::Permanent)
        .replace()
        .execute()
        .await
}
