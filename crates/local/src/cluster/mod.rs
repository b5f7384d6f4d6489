//! All parts of the cluster, put together in one process.

mod install;

use std::net::{SocketAddrV4, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv6Net;
use lateen_apiserver::{Client, Config, Server, auth::User, gvr};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::controllers;
use crate::dns;
use crate::events::{Recorder, Type};
use crate::network::addresses::Addresses;
use crate::network::{API_IP, API_PORT, DNS_IP, NODE_IP, SERVICE_NET_6, both, egress, host, pod_nets};
use crate::node_object::{self, Machine};
use crate::options::Install;
use crate::paths::Home;
use crate::pod::context::Context;
use crate::pod::fields::Capacity;
use crate::pod::{agent, registry::Registry};
use crate::reexec::Platform;
use crate::runtime::Runtime;
use crate::sandbox::message::{FromSandbox, Settings};
use crate::sandbox::outside::Outside;
use crate::services;

/// How long the control plane may take to be ready.
const READY_TIME: Duration = Duration::from_secs(120);

/// Runs a cluster for ever; returns when it can't start or can't go on.
pub(crate) async fn run(
    settings: Settings,
    listeners: Vec<TcpListener>,
    platform: Platform,
    outside: Outside,
    report: impl Fn(FromSandbox) + Send + Sync,
) -> Result<(), String> {
    host::set_up(settings.dual_stack).await?;
    let home = Home::new(&settings.home);
    let registry = Arc::new(Registry::default());
    let server = open(&home, &settings, &registry).await?;
    let serving = tokio::spawn(serve(server.clone(), bind(listeners).await?));
    write_private(&home.kubeconfig(), &server.kubeconfig(&format!("https://{}", settings.api)))
        .map_err(|e| format!("write {}: {e}", home.kubeconfig().display()))?;
    report(FromSandbox::Step(format!("API server listens on https://{}", settings.api)));
    let client = server.client();
    let _parts = start_parts(&server, &home, &settings, &platform, registry, outside).await?;
    let install = Install { many_ids: settings.many_ids, bare: settings.bare, egress_gateway: settings.egress_gateway };
    let manifests = (platform.manifests)(&install);
    install::apply(&client, &manifests).await?;
    if !manifests.is_empty() {
        report(FromSandbox::Step("control plane is starting".to_owned()));
    }
    install::wait_ready(&client, &manifests, Instant::now() + READY_TIME).await?;
    report(FromSandbox::Ready { api: settings.api.to_string() });
    serving.await.map_err(|e| format!("the API server ended: {e}"))??;
    Err("the API server ended".to_owned())
}

async fn open(home: &Home, settings: &Settings, registry: &Arc<Registry>) -> Result<Server, String> {
    let mut config = Config::new(home.server());
    config.runtime = Some(Arc::new(Runtime::new(Arc::clone(registry))));
    config.secure_port = API_PORT;
    config.advertise_address = NODE_IP;
    config.second_service_cidr = settings.dual_stack.then(|| Ipv6Net::new_assert(SERVICE_NET_6.0, SERVICE_NET_6.1));
    Server::open(config).await.map_err(|e| e.to_string())
}

/// The launcher's listeners, and those that pods reach: the Service's address and its endpoint.
async fn bind(listeners: Vec<TcpListener>) -> Result<Vec<tokio::net::TcpListener>, String> {
    let failed = |e: std::io::Error| format!("listen for the API server: {e}");
    let mut all = Vec::new();
    for address in [(API_IP, 443), (NODE_IP, API_PORT)] {
        all.push(tokio::net::TcpListener::bind(address).await.map_err(failed)?);
    }
    for listener in listeners {
        listener.set_nonblocking(true).map_err(failed)?;
        all.push(tokio::net::TcpListener::from_std(listener).map_err(failed)?);
    }
    Ok(all)
}

async fn serve(server: Server, listeners: Vec<tokio::net::TcpListener>) -> Result<(), String> {
    server.serve(listeners).await.map_err(|e| e.to_string())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::File::options();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Starts controllers and node agent. They run as long as what is returned.
async fn start_parts(
    server: &Server,
    home: &Home,
    settings: &Settings,
    platform: &Platform,
    registry: Arc<Registry>,
    outside: Outside,
) -> Result<Parts, String> {
    let client = server.client();
    let as_component = |name: &str, groups: &[&str]| client.as_user(User::member(name, groups));
    let node_agent = as_component(&format!("system:node:{}", crate::NODE_NAME), &["system:nodes"]);
    let clock = Clock::system();
    let machine = Machine::read();
    let node = node_object::register(&node_agent, machine, settings.dual_stack)
        .await
        .map_err(|e| format!("register the node: {e}"))?;
    let recorder = Recorder::start(node_agent.clone(), "kubelet", clock.clone()).host(crate::NODE_NAME);
    let node = node_reference(&node);
    recorder.record(&node, Type::Normal, "Starting", "Starting kubelet.");
    let mut tasks = JoinSet::new();
    match egress::open(outside.clone()).await {
        Ok(way_out) => drop(tasks.spawn(way_out)),
        Err(reason) => recorder.record(&node, Type::Warning, "NoWayOut", &no_way_out(&reason)),
    }
    let manager = as_component("system:kube-controller-manager", &[]);
    let controllers = controllers::run(&manager, &clock, server.ca_pem(), &home.volumes());
    let context = Arc::new(Context {
        client: node_agent.clone(),
        recorder: recorder.clone(),
        images: Arc::clone(&platform.images),
        home: home.clone(),
        addresses: Addresses::new(),
        many_ids: settings.many_ids,
        dual_stack: settings.dual_stack,
        capacity: Capacity { cpus: machine.cpus, memory: machine.memory },
        registry,
    });
    tasks.spawn(node_object::beat(node_agent));
    tasks.spawn(agent::run(context));
    // Host ports are the pods' wish: more than a kube-proxy may read, and a balancer writes status.
    let this_node = this_node(settings.dual_stack);
    tasks.spawn(services::run(client.clone(), this_node.clone(), services::apply));
    let service_events = recorder.component("service-controller");
    tasks.spawn(services::expose(client.clone(), this_node, outside.clone(), service_events));
    tasks.spawn(start_dns(client, outside).await?);
    Ok(Parts { _controllers: controllers, _tasks: tasks })
}

/// The node as Services see it.
fn this_node(dual_stack: bool) -> services::Node {
    services::Node {
        name: crate::NODE_NAME.to_owned(),
        zone: node_object::ZONE.to_owned(),
        ips: both(NODE_IP, dual_stack),
        pods: pod_nets(dual_stack),
        answers: vec![API_IP.into(), DNS_IP.into()],
    }
}

fn no_way_out(reason: &str) -> String {
    format!(
        "pods reach the cluster only, nothing outside of it ({reason}). This takes a kernel with CONFIG_NFT_TPROXY \
         and CONFIG_IP_MULTIPLE_TABLES"
    )
}

/// The tasks of the cluster; they end with it.
struct Parts {
    _controllers: JoinSet<()>,
    _tasks: JoinSet<()>,
}

/// Binds the cluster's DNS server and makes the Service that pods know it by; the result runs it.
async fn start_dns(client: Client, outside: Outside) -> Result<impl Future<Output = ()> + Send, String> {
    let address = SocketAddrV4::new(DNS_IP, 53);
    let sockets = dns::Sockets::bind(address.into()).await.map_err(|e| format!("listen for cluster DNS: {e}"))?;
    let [service, slice, endpoints] = dns::manifests(DNS_IP, address);
    let objects = [(&gvr::SERVICES, service), (&gvr::ENDPOINT_SLICES, slice), (&gvr::ENDPOINTS, endpoints)];
    for (kind, object) in objects {
        match client.create(kind, "kube-system", object).await {
            Err(status) if !status.is_already_exists() => return Err(format!("make Service kube-dns: {status}")),
            _ => {}
        }
    }
    let reader = client.as_user(User::member(&User::account_name("kube-system", "kube-dns"), &[]));
    let hosts = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let upstreams = dns::Upstreams::new(dns::Upstreams::parse_resolv_conf(&hosts)).through(outside);
    Ok(async move { dns::run(reader, "cluster.local", sockets, upstreams).await })
}

/// The node as events refer to it.
fn node_reference(node: &Value) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": crate::NODE_NAME, "uid": node["metadata"]["uid"]}})
}
