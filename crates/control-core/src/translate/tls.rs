//! TLS contexts: the mesh's own, by secrets that the proxy makes itself, and others.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3 as proto;
use lateen_api::envoy::envoy::r#type::matcher::v3 as matcher;
use lateen_api::google::protobuf::Duration;
use lateen_api::istio::{ClientTlsSettings, TlsConfig};
use lateen_mesh::tls::{CIPHERS, CURVES, known};
use proto::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use proto::tls_parameters::TlsProtocol;

use super::wire::{ads, any, flag};
use crate::resource::MeshConfig;

/// The secret with the workload's certificate and key.
const WORKLOAD: &str = "default";
/// The secret with the roots of the mesh.
const ROOT: &str = "ROOTCA";
/// Ciphers of the mesh's own TLS up to 1.2.
const MESH_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// A secret by name, from the control plane.
pub fn ads_secret(name: &str) -> proto::SdsSecretConfig {
    proto::SdsSecretConfig { name: name.into(), sds_config: Some(ads()) }
}

/// Which secrets a context takes, by name, from the proxy's own secret server.
fn secret(name: &str) -> proto::SdsSecretConfig {
    let service = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(core::grpc_service::EnvoyGrpc {
            cluster_name: "sds-grpc".into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let source = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    proto::SdsSecretConfig {
        name: name.into(),
        sds_config: Some(core::ConfigSource {
            config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(source)),
            initial_fetch_timeout: Some(Duration { seconds: 0, nanos: 0 }),
            resource_api_version: core::ApiVersion::V3.into(),
            ..Default::default()
        }),
    }
}

/// How a peer's identity is compared.
pub enum Names {
    /// One of these.
    Exact(Vec<String>),
    /// Begins with this.
    Prefix(Vec<String>),
}

fn san_matchers(names: &Names) -> Vec<proto::SubjectAltNameMatcher> {
    use matcher::string_matcher::MatchPattern;
    let patterns: Vec<MatchPattern> = match names {
        Names::Exact(all) => all.iter().cloned().map(MatchPattern::Exact).collect(),
        Names::Prefix(all) => all.iter().cloned().map(MatchPattern::Prefix).collect(),
    };
    let matcher = |pattern| proto::SubjectAltNameMatcher {
        san_type: proto::subject_alt_name_matcher::SanType::Uri.into(),
        matcher: Some(matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    };
    patterns.into_iter().map(matcher).collect()
}

fn params() -> proto::TlsParameters {
    proto::TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

/// Ciphers of a list, those that no proxy knows left out: one of them would make a proxy refuse all of it.
pub fn ciphers(wanted: &[String]) -> Vec<String> {
    known(wanted, &CIPHERS)
}

/// The settings of the mesh for TLS that is not its own, where nothing closer says otherwise.
pub fn with_defaults(mut params: proto::TlsParameters, defaults: Option<&TlsConfig>) -> proto::TlsParameters {
    let lowest = defaults.map(|defaults| lowest_version(&defaults.min_protocol_version));
    if params.tls_minimum_protocol_version == i32::from(TlsProtocol::TlsAuto) {
        params.tls_minimum_protocol_version = lowest.unwrap_or(TlsProtocol::TlSv12).into();
    }
    let Some(defaults) = defaults else { return params };
    if params.ecdh_curves.is_empty() {
        params.ecdh_curves = known(&defaults.ecdh_curves, &CURVES);
    }
    if params.cipher_suites.is_empty() {
        params.cipher_suites = ciphers(&defaults.cipher_suites);
    }
    params
}

/// As MeshConfig writes it; 1.2 if it says nothing that is known.
fn lowest_version(name: &str) -> TlsProtocol {
    if name == "TLSV1_3" { TlsProtocol::TlSv13 } else { TlsProtocol::TlSv12 }
}

/// Mutual TLS of the mesh with peers of these names.
pub fn mesh_context(alpn: &[&str], names: &Names) -> proto::CommonTlsContext {
    let combined = CombinedCertificateValidationContext {
        default_validation_context: Some(proto::CertificateValidationContext {
            match_typed_subject_alt_names: san_matchers(names),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(ROOT)),
        ..Default::default()
    };
    proto::CommonTlsContext {
        tls_params: Some(params()),
        tls_certificate_sds_secret_configs: vec![secret(WORKLOAD)],
        alpn_protocols: alpn.iter().map(|a| (*a).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(combined)),
        ..Default::default()
    }
}

/// Accepts mutual TLS from workloads of the mesh's trust domains, as `meshMTLS` says.
pub fn mesh_server(mesh: &MeshConfig, alpn: &[&str]) -> core::TransportSocket {
    let domains = std::iter::once(mesh.trust_domain()).chain(mesh.raw.trust_domain_aliases.iter().map(String::as_str));
    let mut common = mesh_context(alpn, &Names::Prefix(domains.map(|td| format!("spiffe://{td}/")).collect()));
    if let Some(params) = &mut common.tls_params {
        let wanted = mesh.raw.mesh_mtls.clone().unwrap_or_default();
        params.cipher_suites = ciphers(&wanted.cipher_suites);
        if params.cipher_suites.is_empty() {
            params.cipher_suites = MESH_CIPHERS.map(str::to_owned).into();
        }
        params.tls_minimum_protocol_version = lowest_version(&wanted.min_protocol_version).into();
    }
    socket(any(&proto::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: flag(true),
        ..Default::default()
    }))
}

/// Speaks mutual TLS with a workload that has one of `identities` (any of the mesh if there are none).
pub fn mesh_client(sni: &str, identities: Vec<String>, alpn: &[&str]) -> core::TransportSocket {
    socket(any(&proto::UpstreamTlsContext {
        common_tls_context: Some(mesh_context(alpn, &Names::Exact(identities))),
        sni: sni.to_owned(),
        ..Default::default()
    }))
}

/// TLS towards a destination as a DestinationRule says: files, roots and names.
pub struct ClientTls<'a> {
    /// The settings.
    pub settings: &'a ClientTlsSettings,
    /// Names the server must have one of, if the settings say none.
    pub service_names: &'a [String],
    /// With the client certificate of the settings.
    pub mutual: bool,
    /// Protocols to offer.
    pub alpn: Vec<String>,
    /// What the mesh wants of such TLS.
    pub defaults: Option<&'a TlsConfig>,
}

/// Where the roots of the machine are.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Speaks TLS with a server that is no workload of the mesh.
pub fn client(tls: &ClientTls<'_>) -> core::TransportSocket {
    let settings = tls.settings;
    let names =
        if settings.subject_alt_names.is_empty() { tls.service_names } else { settings.subject_alt_names.as_slice() };
    let validation = (!settings.insecure_skip_verify.unwrap_or(false)).then(|| server_checks(settings, names));
    let certificates = tls.mutual.then(|| proto::TlsCertificate {
        certificate_chain: Some(file(&settings.client_certificate)),
        private_key: Some(file(&settings.private_key)),
        ..Default::default()
    });
    let verified = validation.is_some();
    socket(any(&proto::UpstreamTlsContext {
        common_tls_context: Some(proto::CommonTlsContext {
            tls_params: Some(with_defaults(params(), tls.defaults)),
            tls_certificates: certificates.into_iter().collect(),
            alpn_protocols: tls.alpn.clone(),
            validation_context_type: validation,
            ..Default::default()
        }),
        sni: settings.sni.clone(),
        auto_host_sni: settings.sni.is_empty(),
        auto_sni_san_validation: settings.sni.is_empty() && names.is_empty() && verified,
        ..Default::default()
    }))
}

/// How the certificate of a server is checked: by roots in a ConfigMap or Secret that is named in full, or in files.
fn server_checks(settings: &ClientTlsSettings, names: &[String]) -> ValidationContextType {
    let context = proto::CertificateValidationContext {
        match_typed_subject_alt_names: name_matchers(names),
        crl: (!settings.ca_crl.is_empty()).then(|| file(&settings.ca_crl)),
        ..Default::default()
    };
    if settings.credential_name.contains("://") {
        let roots = format!("{}{}", settings.credential_name, super::secret::ROOTS_SUFFIX);
        return ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
            default_validation_context: Some(context),
            validation_context_sds_secret_config: Some(ads_secret(&roots)),
            ..Default::default()
        });
    }
    let roots = if settings.ca_certificates.is_empty() { SYSTEM_ROOTS } else { settings.ca_certificates.as_str() };
    ValidationContextType::ValidationContext(proto::CertificateValidationContext {
        trusted_ca: Some(file(roots)),
        ..context
    })
}

/// Names that a certificate has to have one of.
pub fn name_matchers(names: &[String]) -> Vec<proto::SubjectAltNameMatcher> {
    use proto::subject_alt_name_matcher::SanType;
    let matcher = |name: &String| {
        let kind = if name.starts_with("spiffe://") { SanType::Uri } else { SanType::Dns };
        proto::SubjectAltNameMatcher {
            san_type: kind.into(),
            matcher: Some(matcher::StringMatcher {
                match_pattern: Some(matcher::string_matcher::MatchPattern::Exact(name.clone())),
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    names.iter().map(matcher).collect()
}

/// A file of the proxy's machine.
pub fn file(path: &str) -> core::DataSource {
    core::DataSource { specifier: Some(core::data_source::Specifier::Filename(path.to_owned())), ..Default::default() }
}

/// A TLS socket.
pub fn socket(config: lateen_api::google::protobuf::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    }
}

/// Plain text.
pub fn plain() -> core::TransportSocket {
    let raw = lateen_api::envoy::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer {};
    core::TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".into(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any(&raw))),
    }
}
