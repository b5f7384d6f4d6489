//! Everything that can be set, resolved once: flags, environment and the pod's own description become one
//! [`Config`]. Nothing else reads the environment.

mod annotations;
mod args;
mod duration;
mod environment;
mod node;
mod probers;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lateen_api::discovery::Node;
use lateen_api::google::protobuf::Struct;
use serde_json::{Map, Value};

use crate::certs::KeyKind;
use crate::peer::OwnMetadata;

pub use args::ProxyArgs;
pub use environment::Environment;
pub use probers::{AppMetrics, Check, Prober, Probers};

/// Why the settings make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is missing.
    #[error("the environment lacks {0}; the injector sets it, so was this started by hand?")]
    Missing(&'static str),
    /// A setting has a value that cannot be used.
    #[error("{name}: `{value}` is no {wanted}")]
    Invalid {
        /// The setting.
        name: String,
        /// What was given.
        value: String,
        /// What was expected.
        wanted: &'static str,
    },
}

/// What kind of proxy this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside one workload.
    Sidecar,
    /// On its own, at an edge of the mesh.
    Gateway,
}

impl Role {
    /// The word for it in a node id.
    pub fn node_type(self) -> &'static str {
        match self {
            Role::Sidecar => "sidecar",
            Role::Gateway => "router",
        }
    }
}

/// The pod that this proxy belongs to.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The account it runs as.
    pub service_account: String,
    /// Its addresses, the main one first.
    pub ips: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The ports on which the proxy itself answers.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Administration, on loopback only.
    pub admin: u16,
    /// Merged metrics, the application's probes.
    pub status: u16,
    /// Readiness.
    pub ready: u16,
    /// The proxy's own metrics.
    pub metrics: u16,
    /// DNS.
    pub dns: u16,
}

/// How the proxy ends.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long open connections may go on after SIGTERM.
    pub termination: Duration,
    /// End as soon as no connection is open, whatever `termination` says.
    pub exit_on_idle: bool,
    /// With `exit_on_idle`: the least time before that.
    pub minimum: Duration,
}

/// What the process logs about itself.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The level, for instance `info`.
    pub level: String,
    /// As JSON, one object for each line.
    pub json: bool,
}

/// Where the control plane and the files for it are.
#[derive(Clone, Debug)]
pub struct Control {
    /// Discovery, host and port.
    pub discovery: String,
    /// The certificate authority, host and port.
    pub authority: String,
    /// The pod's token.
    pub token_file: PathBuf,
    /// The mesh's root.
    pub root_file: PathBuf,
}

/// How the workload's certificate is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Certificates {
    /// Kind of its key.
    pub key: KeyKind,
    /// Lifetime to ask for.
    pub lifetime: Duration,
    /// Which part of the lifetime is left when it is renewed.
    pub grace_ratio: f64,
    /// By how much that part varies.
    pub grace_jitter: f64,
}

/// The whole configuration of one proxy process.
#[derive(Clone, Debug)]
pub struct Config {
    /// What kind of proxy this is.
    pub role: Role,
    /// The pod it belongs to.
    pub pod: Pod,
    /// Domain of the pod's namespace, as in `default.svc.cluster.local`.
    pub domain: String,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// Cluster of the pod.
    pub cluster_id: String,
    /// Who this is, for discovery.
    pub node: Node,
    /// The same node's metadata, as JSON.
    pub node_metadata: Map<String, Value>,
    /// Directory that stands for `/`.
    pub root: PathBuf,
    /// ProxyConfig as given.
    pub proxy_config: Map<String, Value>,
    /// The control plane.
    pub control: Control,
    /// Certificates.
    pub certificates: Certificates,
    /// Own ports.
    pub ports: Ports,
    /// Mark of the proxy's sockets, where capture knows them by it.
    pub mark: Option<u32>,
    /// Ports that the application's containers declare.
    pub container_ports: Vec<u16>,
    /// Whether DNS queries are captured.
    pub dns_capture: bool,
    /// How long to wait for another DNS server.
    pub dns_timeout: Duration,
    /// The application's own probes.
    pub probers: Probers,
    /// Where the application's own metrics are.
    pub app_metrics: Option<AppMetrics>,
    /// How the proxy ends.
    pub drain: Drain,
    /// Worker threads.
    pub workers: usize,
    /// Its own log.
    pub logging: Logging,
}

/// Where the pod's labels and annotations are mounted.
const POD_INFO: &str = "etc/istio/pod";
const TOKEN: &str = "var/run/secrets/tokens/istio-token";
const ROOT_CERT: &str = "var/run/secrets/istio/root-cert.pem";
const DEFAULT_DISCOVERY: &str = "istiod.istio-system.svc:15012";
const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// Resolves everything; files are read below `root` (`/`, except in tests).
    pub fn resolve(args: &ProxyArgs, env: &Environment, root: &std::path::Path) -> Result<Config, ConfigError> {
        let role = if args.role == "sidecar" { Role::Sidecar } else { Role::Gateway };
        let proxy_config = env.json_object("PROXY_CONFIG")?;
        let settings = Settings { proxy_config: &proxy_config };
        let pod = pod(env, root)?;
        let namespace = pod.namespace.clone();
        let domain = args.domain.clone().unwrap_or_else(|| format!("{namespace}.svc.cluster.local"));
        let discovery = settings.text("discoveryAddress").unwrap_or(DEFAULT_DISCOVERY).to_owned();
        let authority = env.get("CA_ADDR").map_or_else(|| discovery.clone(), str::to_owned);
        let ports = Ports {
            admin: settings.port("proxyAdminPort", 15000)?,
            status: settings.port("statusPort", 15020)?,
            ready: env.parse("ENVOY_STATUS_PORT", "port")?.unwrap_or(15021),
            metrics: env.parse("ENVOY_PROMETHEUS_PORT", "port")?.unwrap_or(15090),
            dns: env.parse("DNS_PROXY_PORT", "port")?.unwrap_or(15053),
        };
        let cluster_id = env.get("ISTIO_META_CLUSTER_ID").unwrap_or("Kubernetes").to_owned();
        let node_metadata = node::metadata(&pod, env, &proxy_config, ports);
        Ok(Config {
            node: node::node(role, &pod, &domain, &proxy_config, node_metadata.clone()),
            node_metadata,
            root: root.to_owned(),
            role,
            domain,
            trust_domain: env.get("TRUST_DOMAIN").unwrap_or("cluster.local").to_owned(),
            cluster_id,
            control: Control {
                discovery,
                authority,
                token_file: root.join(TOKEN),
                root_file: env.get("CA_ROOT_CA").map_or_else(|| root.join(ROOT_CERT), PathBuf::from),
            },
            certificates: Certificates {
                key: key_kind(env)?,
                lifetime: env.duration("SECRET_TTL")?.unwrap_or(DAY),
                grace_ratio: env.parse("SECRET_GRACE_PERIOD_RATIO", "number")?.unwrap_or(0.5),
                grace_jitter: env.parse("SECRET_GRACE_PERIOD_RATIO_JITTER", "number")?.unwrap_or(0.01),
            },
            ports,
            mark: env.parse("LATEEN_CAPTURE_MARK", "socket mark")?,
            container_ports: container_ports(env.get("ISTIO_META_POD_PORTS").unwrap_or("[]"))?,
            dns_capture: env.truth("ISTIO_META_DNS_CAPTURE"),
            dns_timeout: env.duration("DNS_FORWARD_TIMEOUT")?.unwrap_or(Duration::from_secs(5)),
            probers: Probers::parse(env.get("ISTIO_KUBE_APP_PROBERS").unwrap_or_default())?,
            app_metrics: AppMetrics::parse(env.get("ISTIO_PROMETHEUS_ANNOTATIONS").unwrap_or_default())?,
            drain: Drain {
                termination: settings.duration("terminationDrainDuration", Duration::from_secs(5))?,
                exit_on_idle: env.truth("EXIT_ON_ZERO_ACTIVE_CONNECTIONS"),
                minimum: env.duration("MINIMUM_DRAIN_DURATION")?.unwrap_or(Duration::from_secs(5)),
            },
            workers: workers(settings.number("concurrency"), env.parse("ISTIO_CPU_LIMIT", "number")?),
            logging: Logging { level: args.log_level(), json: args.log_as_json },
            pod,
            proxy_config,
        })
    }

    /// What peers are told about this workload.
    pub fn peer_metadata(&self) -> OwnMetadata {
        const TOLD: [&str; 8] =
            ["NAME", "NAMESPACE", "WORKLOAD_NAME", "OWNER", "CLUSTER_ID", "MESH_ID", "LABELS", "INSTANCE_IPS"];
        let fields = self.node.metadata.iter().flat_map(|metadata| &metadata.fields);
        let fields = fields.filter(|(name, _)| TOLD.contains(&name.as_str()));
        let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        OwnMetadata::new(&self.node.id, &Struct { fields })
    }

    /// The identity of the workload.
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.pod.namespace, self.pod.service_account)
    }
}

/// What the injector wrote down about the containers' ports.
fn container_ports(text: &str) -> Result<Vec<u16>, ConfigError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Port {
        container_port: u16,
    }
    let ports: Vec<Port> = serde_json::from_str(text)
        .map_err(|_| environment::invalid("ISTIO_META_POD_PORTS", text, "list of container ports"))?;
    Ok(ports.into_iter().map(|port| port.container_port).collect())
}

fn pod(env: &Environment, root: &std::path::Path) -> Result<Pod, ConfigError> {
    let ips = env.get("INSTANCE_IPS").map_or_else(|| env.required("INSTANCE_IP"), Ok)?;
    let ips = ips.split(',').map(|ip| environment::parse("INSTANCE_IP", ip.trim(), "IP address"));
    let ips = with_interfaces(ips.collect::<Result<Vec<IpAddr>, _>>()?);
    let info = root.join(POD_INFO);
    Ok(Pod {
        name: env.required("POD_NAME")?.to_owned(),
        namespace: env.required("POD_NAMESPACE")?.to_owned(),
        service_account: env.get("SERVICE_ACCOUNT").unwrap_or("default").to_owned(),
        ips,
        labels: annotations::read(&info.join("labels")),
        annotations: annotations::read(&info.join("annotations")),
    })
}

/// The addresses that were given, and those of the pod's interfaces in a family of which none was given: a pod's
/// environment tells of the first only.
fn with_interfaces(mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
    let global = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && ip.segments()[..7] != [0; 7],
    };
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    for ip in addresses.filter(global) {
        if ips.iter().all(|known| known.is_ipv4() != ip.is_ipv4()) {
            ips.push(ip);
        }
    }
    ips
}

/// As many threads as were asked for, else as the CPU limit allows; never more than there are cores.
fn workers(concurrency: Option<u64>, cpu_limit: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match concurrency.map(|n| usize::try_from(n).unwrap_or(usize::MAX)) {
        Some(0) => cores,
        Some(n) => n,
        None => cpu_limit.unwrap_or(cores).clamp(1, cores),
    }
}

/// ProxyConfig, read by field.
struct Settings<'a> {
    proxy_config: &'a Map<String, Value>,
}

impl Settings<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.proxy_config.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.proxy_config.get(name)?.as_u64()
    }

    fn port(&self, name: &str, default: u16) -> Result<u16, ConfigError> {
        let Some(number) = self.number(name) else {
            return Ok(default);
        };
        u16::try_from(number).map_err(|_| ConfigError::Invalid {
            name: format!("PROXY_CONFIG.{name}"),
            value: number.to_string(),
            wanted: "port",
        })
    }

    fn duration(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        duration::parse(text).ok_or_else(|| ConfigError::Invalid {
            name: format!("PROXY_CONFIG.{name}"),
            value: text.to_owned(),
            wanted: "duration such as 5s",
        })
    }
}

/// Istio's settings; unlike there, what says nothing is ECDSA.
fn key_kind(env: &Environment) -> Result<KeyKind, ConfigError> {
    match (env.get("ECC_SIGNATURE_ALGORITHM"), env.get("WORKLOAD_RSA_KEY_SIZE")) {
        (None, Some("2048")) => return Ok(KeyKind::Rsa2048),
        (None, Some("3072")) => return Ok(KeyKind::Rsa3072),
        (None, Some("4096")) => return Ok(KeyKind::Rsa4096),
        (None, Some(other)) => {
            return Err(environment::invalid("WORKLOAD_RSA_KEY_SIZE", other, "size of 2048, 3072 or 4096 bits"));
        }
        _ => {}
    }
    match env.get("ECC_CURVE") {
        None | Some("P256") => Ok(KeyKind::P256),
        Some("P384") => Ok(KeyKind::P384),
        Some(other) => Err(environment::invalid("ECC_CURVE", other, "curve: P256 or P384")),
    }
}

#[cfg(test)]
mod tests;
