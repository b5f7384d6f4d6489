//! TLS of clusters: as a DestinationRule says, or mutual TLS with every endpoint that can.

use std::collections::HashMap;

use lateen_api::envoy::envoy::config::cluster::v3 as proto;
use lateen_api::google::protobuf::Struct;
use lateen_api::istio::{ClientTlsMode, ClientTlsSettings};
use lateen_mesh::{Protocol, SpiffeId};

use super::policy::Policy;
use crate::reads::{Fact, ReadSet};
use crate::resource::{Service, ServicePort};
use crate::snapshot::MtlsMode;
use crate::translate::name::ClusterName;
use crate::translate::provenance::text;
use crate::translate::scope::Scope;
use crate::translate::tls::{self, ClientTls};

/// What a cluster leads to.
pub struct Towards<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its port.
    pub port: &'a ServicePort,
    /// Name of the cluster.
    pub name: &'a ClusterName,
    /// The policy in force.
    pub policy: &'a Policy,
}

/// Writes TLS into a cluster.
pub fn apply(cluster: &mut proto::Cluster, to: &Towards<'_>, scope: &Scope<'_>, reads: &mut ReadSet) {
    match &to.policy.tls {
        Some(settings) => match settings.mode.unwrap_or(ClientTlsMode::Disable) {
            ClientTlsMode::Disable => {}
            ClientTlsMode::IstioMutual => {
                cluster.transport_socket = Some(mutual(to, Some(settings), scope, reads));
            }
            mode => {
                let outside = ClientTls {
                    settings,
                    service_names: &to.service.subject_alt_names,
                    mutual: mode == ClientTlsMode::Mutual,
                    alpn: outside_alpn(to.port.protocol),
                    defaults: scope.snapshot.mesh.raw.tls_defaults.as_ref(),
                };
                cluster.transport_socket = Some(tls::client(&outside));
            }
        },
        None => automatic(cluster, to, scope, reads),
    }
}

/// Mutual TLS with endpoints that are known to accept it, plain text with the others.
fn automatic(cluster: &mut proto::Cluster, to: &Towards<'_>, scope: &Scope<'_>, reads: &mut ReadSet) {
    let snapshot = scope.snapshot;
    if !snapshot.mesh.auto_mtls() || to.service.external {
        return;
    }
    let by_endpoint = cluster.lb_policy != i32::from(proto::cluster::LbPolicy::ClusterProvided);
    if by_endpoint {
        let matched = |name: &str, criteria: Struct, socket| proto::cluster::TransportSocketMatch {
            name: name.into(),
            r#match: Some(criteria),
            transport_socket: Some(socket),
        };
        let wanted = Struct { fields: HashMap::from([("tlsMode".to_owned(), text("istio"))]) };
        cluster.transport_socket_matches = vec![
            matched("tlsMode-istio", wanted, mutual(to, None, scope, reads)),
            matched("tlsMode-disabled", Struct::default(), tls::plain()),
        ];
        return;
    }
    reads.read(Fact::Accounts(to.service.hostname.clone()));
    reads.read(Fact::PeerAuthentications);
    let endpoints = snapshot.endpoints.of_service(&to.service.hostname, to.service.namespace());
    let all_can = endpoints.is_some_and(|e| e.all_mesh_tls(to.port.number));
    if all_can && snapshot.namespace_mtls(to.service.namespace()) != MtlsMode::Disable {
        cluster.transport_socket = Some(mutual(to, None, scope, reads));
    }
}

fn mutual(
    to: &Towards<'_>,
    settings: Option<&ClientTlsSettings>,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> lateen_api::envoy::envoy::config::core::v3::TransportSocket {
    let own_names = settings.map(|s| s.subject_alt_names.clone()).filter(|n| !n.is_empty());
    let identities = own_names.unwrap_or_else(|| identities(to, scope, reads));
    let own_sni = settings.map(|s| s.sni.clone()).filter(|s| !s.is_empty());
    let sni = own_sni.unwrap_or_else(|| to.name.sni());
    tls::mesh_client(&sni, identities, mesh_alpn(to.port.protocol, scope.view.lateen))
}

/// The identities behind a service.
fn identities(to: &Towards<'_>, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<String> {
    if !to.service.subject_alt_names.is_empty() {
        return to.service.subject_alt_names.clone();
    }
    reads.read(Fact::Accounts(to.service.hostname.clone()));
    let mesh = &scope.snapshot.mesh;
    let endpoints = scope.snapshot.endpoints.of_service(&to.service.hostname, to.service.namespace());
    let accounts = endpoints.map(|e| e.accounts()).unwrap_or_default();
    let domains =
        || std::iter::once(mesh.trust_domain()).chain(mesh.raw.trust_domain_aliases.iter().map(String::as_str));
    accounts
        .into_iter()
        .flat_map(|(namespace, account)| domains().map(move |td| SpiffeId::new(td, namespace, account).to_string()))
        .collect()
}

/// What is offered to a sidecar. Its listener tells HTTP from other traffic by this. Lateen's proxy replaces it for
/// HTTP by the version in use; a stock Envoy cannot, so that for it the port's protocol decides.
fn mesh_alpn(protocol: Protocol, lateen: bool) -> &'static [&'static str] {
    match (lateen, protocol) {
        (true, p) if p.is_http2() => &["istio-peer-exchange", "istio", "h2"],
        (true, _) => &["istio-peer-exchange", "istio"],
        (false, p) if p.is_http2() => &["istio-h2", "istio", "h2"],
        (false, p) if p.is_http() => &["istio-http/1.1", "istio", "http/1.1"],
        (false, _) => &["istio"],
    }
}

fn outside_alpn(protocol: Protocol) -> Vec<String> {
    let all: &[&str] = if protocol.is_http2() {
        &["h2"]
    } else if protocol.is_http() {
        &["http/1.1"]
    } else {
        &[]
    };
    all.iter().map(|a| (*a).to_owned()).collect()
}
