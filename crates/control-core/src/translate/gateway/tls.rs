//! TLS of servers: certificates from Secrets, from files, or the workload's own.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3 as proto;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use lateen_api::istio::{ServerTlsMode, ServerTlsSettings, TlsProtocol};

use lateen_mesh::tls::{CURVES, known};

use super::merge::Server;
use crate::translate::scope::Scope;
use crate::translate::secret::{self, ROOTS_SUFFIX};
use crate::translate::tls::{self, Names, file};
use crate::translate::wire::{any, flag};

/// What HTTP is offered as.
const HTTP: [&str; 2] = ["h2", "http/1.1"];
/// What the mesh's own TLS around other traffic is offered as.
const MESH_TCP: [&str; 3] = ["istio-peer-exchange", "h2", "http/1.1"];

/// How a server ends TLS; `None` if it does not.
pub fn server(server: &Server<'_>, scope: &Scope<'_>) -> Option<core::TransportSocket> {
    let settings = server.spec.tls.as_ref()?;
    let mode = server.tls().filter(|_| !server.passes_through())?;
    let alpn: &[&str] = match (server.is_http(), mode) {
        (true, _) => &HTTP,
        (false, ServerTlsMode::IstioMutual) if scope.view.lateen => &MESH_TCP,
        (false, _) => &[],
    };
    let mut common = match mode {
        ServerTlsMode::IstioMutual => tls::mesh_context(alpn, &Names::Exact(settings.subject_alt_names.clone())),
        _ => proto::CommonTlsContext {
            alpn_protocols: alpn.iter().map(|a| (*a).to_owned()).collect(),
            ..certificates(settings, mode)
        },
    };
    let defaults = scope.snapshot.mesh.raw.tls_defaults.as_ref();
    let defaults = defaults.filter(|_| mode != ServerTlsMode::IstioMutual);
    common.tls_params = Some(tls::with_defaults(params(settings), defaults));
    let required = matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual);
    Some(tls::socket(any(&proto::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: flag(required),
        ..Default::default()
    })))
}

fn certificates(settings: &ServerTlsSettings, mode: ServerTlsMode) -> proto::CommonTlsContext {
    let checks_clients = matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let names = match settings.credential_names.as_slice() {
        [] => std::slice::from_ref(&settings.credential_name),
        several => several,
    };
    let secrets: Vec<&String> = names.iter().filter(|n| !n.is_empty()).collect();
    let Some(first) = secrets.first() else { return from_files(settings, checks_clients) };
    let roots = match settings.ca_cert_credential_name.as_str() {
        "" => format!("{}{ROOTS_SUFFIX}", secret::resource_name(first)),
        own => secret::resource_name(own),
    };
    proto::CommonTlsContext {
        tls_certificate_sds_secret_configs: secrets
            .iter()
            .map(|n| tls::ads_secret(&secret::resource_name(n)))
            .collect(),
        validation_context_type: checks_clients.then(|| {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(client_checks(settings)),
                validation_context_sds_secret_config: Some(tls::ads_secret(&roots)),
                ..Default::default()
            })
        }),
        ..Default::default()
    }
}

fn from_files(settings: &ServerTlsSettings, checks_clients: bool) -> proto::CommonTlsContext {
    let one = |chain: &str, key: &str| proto::TlsCertificate {
        certificate_chain: Some(file(chain)),
        private_key: Some(file(key)),
        ..Default::default()
    };
    let several = settings.tls_certificates.iter().map(|c| one(&c.server_certificate, &c.private_key));
    let own = Some(one(&settings.server_certificate, &settings.private_key));
    let own = own.filter(|_| settings.tls_certificates.is_empty());
    let validation = proto::CertificateValidationContext {
        trusted_ca: Some(file(&settings.ca_certificates)),
        crl: (!settings.ca_crl.is_empty()).then(|| file(&settings.ca_crl)),
        ..client_checks(settings)
    };
    proto::CommonTlsContext {
        tls_certificates: several.chain(own).collect(),
        validation_context_type: checks_clients.then_some(ValidationContextType::ValidationContext(validation)),
        ..Default::default()
    }
}

/// What certificates of clients have to fulfil beside being signed by a root.
fn client_checks(settings: &ServerTlsSettings) -> proto::CertificateValidationContext {
    use proto::certificate_validation_context::TrustChainVerification;
    let trust = if settings.insecure_skip_verify.unwrap_or(false) {
        TrustChainVerification::AcceptUntrusted
    } else {
        TrustChainVerification::VerifyTrustChain
    };
    proto::CertificateValidationContext {
        match_typed_subject_alt_names: tls::name_matchers(&settings.subject_alt_names),
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        trust_chain_verification: trust.into(),
        ..Default::default()
    }
}

fn params(settings: &ServerTlsSettings) -> proto::TlsParameters {
    let version = |wanted: Option<TlsProtocol>| {
        use proto::tls_parameters::TlsProtocol as Wire;
        match wanted {
            None | Some(TlsProtocol::Auto) => Wire::TlsAuto,
            Some(TlsProtocol::V1_0) => Wire::TlSv10,
            Some(TlsProtocol::V1_1) => Wire::TlSv11,
            Some(TlsProtocol::V1_2) => Wire::TlSv12,
            Some(TlsProtocol::V1_3) => Wire::TlSv13,
        }
    };
    proto::TlsParameters {
        tls_minimum_protocol_version: version(settings.min_protocol_version).into(),
        tls_maximum_protocol_version: version(settings.max_protocol_version).into(),
        cipher_suites: tls::ciphers(&settings.cipher_suites),
        ecdh_curves: known(&settings.ecdh_curves, &CURVES),
        ..Default::default()
    }
}
