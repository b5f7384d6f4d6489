//! What istiod runs with, resolved once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lateen_mesh::Cidr;

use crate::ca::Timing;

/// Where istiod listens.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Discovery and certificates without TLS.
    pub grpc: SocketAddr,
    /// Discovery and certificates with TLS.
    pub tls_grpc: SocketAddr,
    /// Webhooks, with TLS.
    pub webhook: SocketAddr,
    /// Metrics, version and debug pages.
    pub monitoring: SocketAddr,
    /// Readiness.
    pub health: SocketAddr,
}

impl Listen {
    /// Istio's ports on one address.
    pub fn on(ip: IpAddr) -> Self {
        let at = |port| SocketAddr::new(ip, port);
        Listen { grpc: at(15010), tls_grpc: at(15012), webhook: at(15017), monitoring: at(15014), health: at(8080) }
    }
}

/// What istiod runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own namespace; also the root namespace of the mesh.
    pub namespace: String,
    /// Its revision.
    pub revision: String,
    /// The name of its pod, shown in status pages.
    pub pod_name: String,
    /// The name of this cluster.
    pub cluster_id: String,
    /// Domain of Services.
    pub cluster_domain: String,
    /// The version of this program.
    pub version: String,
    /// Where it listens.
    pub listen: Listen,
    /// Changes that follow a push within this time are merged into the next.
    pub merge_window: Duration,
    /// A change waits no longer than this, however many follow.
    pub merge_max: Duration,
    /// How often the keys that tokens are checked with are fetched.
    pub keys_interval: Duration,
    /// Addresses that keys are never fetched from.
    pub keys_blocked: Vec<Cidr>,
    /// When the CA changes.
    pub ca: Timing,
}

impl Config {
    /// Resolves the configuration from the environment that Istio's manifests set; `var` looks a
    /// variable up.
    pub fn resolve(version: &str, var: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str, default: &str| {
            var(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let interval = |name: &str, default| {
            var(name)
                .and_then(|text| lateen_mesh::duration::parse(&text).ok())
                .filter(|interval| !interval.is_zero())
                .unwrap_or(Duration::from_secs(default))
        };
        Config {
            namespace: text("POD_NAMESPACE", "istio-system"),
            revision: text("REVISION", "default"),
            pod_name: text("POD_NAME", "istiod"),
            cluster_id: text("CLUSTER_ID", "Kubernetes"),
            cluster_domain: text("DOMAIN_SUFFIX", "cluster.local"),
            version: version.to_owned(),
            listen: Listen::on(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            merge_window: Duration::from_millis(25),
            merge_max: Duration::from_secs(1),
            keys_interval: interval("PILOT_JWT_PUB_KEY_REFRESH_INTERVAL", 20 * 60),
            keys_blocked: text("BLOCKED_CIDRS_IN_JWKS_URIS", "")
                .split(',')
                .filter_map(|text| Cidr::parse(text.trim()).ok())
                .collect(),
            ca: Timing {
                announce: interval("LATEEN_CA_ROOT_ANNOUNCEMENT", 5 * 60),
                check: interval("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", 3600),
                grace: var("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE")
                    .and_then(|text| text.parse().ok())
                    .filter(|percent| (0.0..=100.0).contains(percent))
                    .unwrap_or(20.0)
                    / 100.0,
            },
        }
    }

    /// The names under which others reach istiod, as its certificate states them.
    pub fn server_names(&self) -> Vec<String> {
        let Config { namespace, cluster_domain, .. } = self;
        vec![
            format!("istiod.{namespace}.svc"),
            format!("istiod.{namespace}"),
            format!("istiod.{namespace}.svc.{cluster_domain}"),
            "istiod".to_owned(),
            "localhost".to_owned(),
        ]
    }
}
