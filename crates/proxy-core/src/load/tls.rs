//! TLS contexts.

use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3::{
    DataSource, TransportSocket, data_source::Specifier, transport_socket,
};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    self as proto, CertificateValidationContext, CommonTlsContext, TlsCertificate,
    common_tls_context::ValidationContextType,
};
use lateen_api::envoy::google::protobuf::Any;
use xxhash_rust::xxh64::xxh64;

use super::LoadError;
use super::convert::{is, string_match, truth, unpack};
use crate::endpoint::Transport;
use crate::tls::{
    CertificateSource, CommonTls, DownstreamTls, RootSource, SanKind, SanMatch, TlsVersion, UpstreamTls, Validation,
};

/// The message inside a transport socket; `None` for plain text.
fn typed(socket: &TransportSocket) -> Option<&Any> {
    match &socket.config_type {
        Some(transport_socket::ConfigType::TypedConfig(any)) => Some(any),
        None => None,
    }
}

fn is_plain(any: &Any) -> bool {
    any.type_url.ends_with(".raw_buffer.v3.RawBuffer") || any.type_url.ends_with(".InternalUpstreamTransport")
}

/// How to talk to endpoints.
pub fn upstream(socket: Option<&TransportSocket>) -> Result<Transport, LoadError> {
    let Some(any) = socket.and_then(typed).filter(|any| !is_plain(any)) else {
        return Ok(Transport::Plain);
    };
    let context: proto::UpstreamTlsContext = unpack(any)?;
    let common = common(context.common_tls_context.as_ref(), xxh64(&any.value, 0))?;
    Ok(Transport::Tls(Arc::new(UpstreamTls {
        common,
        sni: (!context.sni.is_empty()).then(|| context.sni.as_str().into()),
        sni_from_host: context.auto_host_sni,
        san_from_sni: context.auto_sni_san_validation,
    })))
}

/// TLS towards clients.
pub fn downstream(socket: Option<&TransportSocket>) -> Result<Option<Arc<DownstreamTls>>, LoadError> {
    let Some(any) = socket.and_then(typed).filter(|any| !is_plain(any)) else {
        return Ok(None);
    };
    if !is::<proto::DownstreamTlsContext>(any) {
        return Err(LoadError::Unsupported(format!("transport socket {}", any.type_url)));
    }
    let context: proto::DownstreamTlsContext = unpack(any)?;
    let common = common(context.common_tls_context.as_ref(), xxh64(&any.value, 1))?;
    Ok(Some(Arc::new(DownstreamTls {
        common,
        require_client_certificate: truth(context.require_client_certificate.as_ref(), false),
    })))
}

fn common(context: Option<&CommonTlsContext>, id: u64) -> Result<CommonTls, LoadError> {
    let default = CommonTlsContext::default();
    let context = context.unwrap_or(&default);
    let sds = context.tls_certificate_sds_secret_configs.iter();
    let mut certificates: Vec<_> = sds.map(|sds| CertificateSource::Sds(sds.name.as_str().into())).collect();
    for certificate in &context.tls_certificates {
        certificates.push(certificate_source(certificate)?);
    }
    let params = context.tls_params.clone().unwrap_or_default();
    let version = |number: i32, default| match number {
        4 => TlsVersion::V13,
        1..=3 => TlsVersion::V12,
        _ => default,
    };
    Ok(CommonTls {
        id,
        certificates,
        validation: validation(context.validation_context_type.as_ref())?,
        alpn: texts(&context.alpn_protocols),
        min: version(params.tls_minimum_protocol_version, TlsVersion::V12),
        max: version(params.tls_maximum_protocol_version, TlsVersion::V13),
        ciphers: texts(&params.cipher_suites),
        curves: texts(&params.ecdh_curves),
    })
}

fn texts(all: &[String]) -> Vec<Arc<str>> {
    all.iter().map(|text| text.as_str().into()).collect()
}

fn certificate_source(certificate: &TlsCertificate) -> Result<CertificateSource, LoadError> {
    let specifier = |source: &Option<DataSource>| source.as_ref().and_then(|source| source.specifier.clone());
    match (specifier(&certificate.certificate_chain), specifier(&certificate.private_key)) {
        (Some(Specifier::Filename(chain)), Some(Specifier::Filename(key))) => {
            Ok(CertificateSource::Files { chain: chain.into(), key: key.into() })
        }
        (Some(chain), Some(key)) => match (inline(chain), inline(key)) {
            (Some(chain), Some(key)) => Ok(CertificateSource::Inline { chain, key }),
            _ => Err(LoadError::invalid("a certificate must come from two files or be inline")),
        },
        _ => Err(LoadError::invalid("a certificate lacks its chain or its key")),
    }
}

fn inline(specifier: Specifier) -> Option<Arc<[u8]>> {
    match specifier {
        Specifier::InlineBytes(bytes) => Some(bytes.into()),
        Specifier::InlineString(text) => Some(text.into_bytes().into()),
        _ => None,
    }
}

fn validation(kind: Option<&ValidationContextType>) -> Result<Validation, LoadError> {
    match kind {
        None => Ok(Validation::default()),
        Some(ValidationContextType::ValidationContext(context)) => context_validation(context, None),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => {
            Ok(Validation { roots: Some(RootSource::Sds(sds.name.as_str().into())), ..Validation::default() })
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let default = CertificateValidationContext::default();
            let context = combined.default_validation_context.as_ref().unwrap_or(&default);
            let sds = combined.validation_context_sds_secret_config.as_ref();
            context_validation(context, sds.map(|sds| RootSource::Sds(sds.name.as_str().into())))
        }
        Some(_) => Err(LoadError::Unsupported("a certificate provider".into())),
    }
}

fn context_validation(
    context: &CertificateValidationContext,
    roots: Option<RootSource>,
) -> Result<Validation, LoadError> {
    let own = match context.trusted_ca.as_ref().and_then(|source| source.specifier.clone()) {
        Some(Specifier::Filename(path)) => Some(RootSource::File(path.into())),
        Some(other) => inline(other).map(RootSource::Inline),
        None => context.system_root_certs.is_some().then_some(RootSource::System),
    };
    let mut sans = Vec::new();
    for san in &context.match_typed_subject_alt_names {
        let matcher = san.matcher.as_ref().ok_or_else(|| LoadError::invalid("a SAN matcher is empty"))?;
        sans.push(SanMatch { kind: san_kind(san.san_type), matcher: string_match(matcher)? });
    }
    for matcher in &context.match_subject_alt_names {
        sans.push(SanMatch { kind: SanKind::Any, matcher: string_match(matcher)? });
    }
    let revoked = match context.crl.as_ref().and_then(|source| source.specifier.clone()) {
        Some(Specifier::Filename(path)) => Some(RootSource::File(path.into())),
        Some(other) => inline(other).map(RootSource::Inline),
        None => None,
    };
    Ok(Validation {
        roots: roots.or(own),
        sans,
        accept_untrusted: context.trust_chain_verification == 1,
        hashes: context.verify_certificate_hash.iter().map(|text| hash(text)).collect::<Result<_, _>>()?,
        keys: context.verify_certificate_spki.iter().map(|text| key(text)).collect::<Result<_, _>>()?,
        revoked,
    })
}

fn san_kind(number: i32) -> SanKind {
    match number {
        1 => SanKind::Email,
        2 => SanKind::Dns,
        3 => SanKind::Uri,
        4 => SanKind::Ip,
        _ => SanKind::Any,
    }
}

fn key(text: &str) -> Result<[u8; 32], LoadError> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.ok_or_else(|| LoadError::invalid(format!("{text:?} is not a SHA-256 in base64")))
}

fn hash(text: &str) -> Result<[u8; 32], LoadError> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let bad = || LoadError::invalid(format!("{text:?} is not a SHA-256 in hexadecimal digits"));
    let mut out = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(bad());
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
    }
    Ok(out)
}
