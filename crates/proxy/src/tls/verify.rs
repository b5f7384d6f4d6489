//! Judging the peer's certificate: chain first, then the names in it.

use std::fmt;
use std::sync::Arc;

use super::roots::Trust;
use super::sha256;
use lateen_proxy_core::tls::{SanKind, SanMatch, Validation};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RevocationOptionsBuilder, UnknownStatusPolicy};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Names in a certificate.
#[derive(Debug, Default, Clone)]
pub struct Names {
    /// URIs.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// Subject.
    pub subject: String,
    /// Until when the certificate is valid, in seconds of Unix time.
    pub not_after: Option<i64>,
}

impl Names {
    /// Reads them; a certificate that can't be read has none.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut names = Self::default();
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return names };
        names.subject = parsed.subject().to_string();
        names.not_after = Some(parsed.validity().not_after.timestamp());
        let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return names };
        for name in &alternative.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        names
    }

    /// The SPIFFE identity.
    pub fn spiffe(&self) -> Option<&str> {
        self.uris.iter().find(|uri| uri.starts_with("spiffe://")).map(String::as_str)
    }

    fn of_kind(&self, kind: SanKind) -> impl Iterator<Item = &String> {
        let pick = |wanted: SanKind, list: &'_ Vec<String>| match kind {
            _ if kind == wanted || kind == SanKind::Any => list.len(),
            _ => 0,
        };
        let take = |wanted: SanKind, list| {
            let n = pick(wanted, list);
            list.iter().take(n)
        };
        take(SanKind::Uri, &self.uris)
            .chain(take(SanKind::Dns, &self.dns))
            .chain(take(SanKind::Ip, &self.ips))
            .chain(take(SanKind::Email, &self.emails))
    }

    fn match_any(&self, matchers: &[SanMatch]) -> bool {
        matchers.iter().any(|san| self.of_kind(san.kind).any(|name| san.matcher.matches(name.as_bytes())))
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// Judges certificates as a configuration says.
pub struct Verifier {
    validation: Validation,
    trust: Trust,
    provider: Arc<CryptoProvider>,
    required: bool,
    /// The server's certificate must be for the name asked for.
    check_name: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("required", &self.required).finish_non_exhaustive()
    }
}

impl Verifier {
    pub fn new(
        validation: &Validation,
        trust: Trust,
        provider: Arc<CryptoProvider>,
        required: bool,
        check_name: bool,
    ) -> Self {
        Self { validation: validation.clone(), trust, provider, required, check_name }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        if let Some(roots) = self.trust.roots.as_ref().filter(|_| !self.validation.accept_untrusted) {
            let certificate = EndEntityCert::try_from(leaf).map_err(bad_certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            let lists: Vec<_> = self.trust.revoked.iter().collect();
            // As OpenSSL does with a list: only what is listed is revoked, a missing or old list revokes nothing.
            let revocation = RevocationOptionsBuilder::new(&lists)
                .ok()
                .map(|options| options.with_status_policy(UnknownStatusPolicy::Allow).build());
            certificate
                .verify_for_usage(algorithms, &roots.roots, intermediates, now, usage, revocation, None)
                .map_err(bad_certificate)?;
        }
        if !self.validation.hashes.is_empty() {
            let digest: [u8; 32] = sha256(leaf);
            if !self.validation.hashes.contains(&digest) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        if !self.validation.keys.is_empty() {
            let key = EndEntityCert::try_from(leaf).map_err(bad_certificate)?.subject_public_key_info();
            if !self.validation.keys.contains(&sha256(&key)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        if !self.validation.sans.is_empty() {
            let names = Names::of(leaf);
            if !names.match_any(&self.validation.sans) {
                return Err(Error::General(wrong_name(&names, &self.validation.sans)));
            }
        }
        Ok(())
    }
}

/// Says who the peer is and who was expected.
fn wrong_name(names: &Names, wanted: &[SanMatch]) -> String {
    let shown = names.of_kind(SanKind::Any).next().map_or("no name", String::as_str);
    let wanted: Vec<String> = wanted.iter().take(4).map(|san| format!("{:?}", san.matcher)).collect();
    format!("the peer's certificate is for {shown}, expected was {}", wanted.join(" or "))
}

fn bad_certificate(error: webpki::Error) -> Error {
    let kind = match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        other => return Error::General(format!("the peer's certificate is not valid: {other}")),
    };
    kind.into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, intermediates, now, KeyUsage::server_auth())?;
        if self.check_name {
            let certificate = EndEntityCert::try_from(leaf).map_err(bad_certificate)?;
            certificate.verify_is_valid_for_subject_name(name).map_err(bad_certificate)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
