use lateen_proxy_core::tls::{CertificateSource, CommonTls, RootSource, TlsVersion, Validation};
use rcgen::{BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair, SanType};
use rcgen::{KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection};

use super::*;
use crate::certs::{Identity, Roots};

/// Who signs for both sides.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn roots(&self) -> Roots {
        Roots::new(vec![self.root.clone()]).unwrap()
    }

    fn store(&self, account: &str, serial: u64) -> CertStore {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://cluster.local/ns/default/sa/{account}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let store = CertStore::new();
        store.replace(Identity::new(vec![leaf], private, &provider::provider()).unwrap(), self.roots());
        store
    }

    /// A list that revokes one certificate, PEM.
    fn revoking(&self, serial: u64) -> String {
        let day = |day| rcgen::date_time_ymd(2020 + day, 1, 1);
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: day(0),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: day(0),
            next_update: day(70),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// The mesh's own TLS.
fn mesh() -> CommonTls {
    CommonTls {
        id: 1,
        certificates: vec![CertificateSource::Sds("default".into())],
        validation: Validation { roots: Some(RootSource::Sds("ROOTCA".into())), ..Validation::default() },
        alpn: Vec::new(),
        min: TlsVersion::V12,
        max: TlsVersion::V13,
        ciphers: Vec::new(),
        curves: Vec::new(),
    }
}

fn names(all: &[&str]) -> Vec<Arc<str>> {
    all.iter().map(|name| Arc::from(*name)).collect()
}

fn client_config(common: CommonTls, certs: &CertStore) -> Arc<ClientConfig> {
    let tls = UpstreamTls { common, sni: None, sni_from_host: false, san_from_sni: false };
    client::config(&tls, &[], None, certs).unwrap()
}

fn server_config(common: CommonTls, certs: &CertStore) -> Arc<ServerConfig> {
    server_sharing(&Tickets::default(), common, certs)
}

fn server_sharing(tickets: &Tickets, common: CommonTls, certs: &CertStore) -> Arc<ServerConfig> {
    let tickets = tickets.of(certs.generation(), &(common.id, None)).unwrap();
    server::config(&DownstreamTls { common, require_client_certificate: true }, None, certs, tickets).unwrap()
}

/// A whole handshake, as far as it goes.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from("service.default").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut wire = Vec::new();
    while client.wants_write() || server.wants_write() {
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &*wire).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &*wire).unwrap();
        client.process_new_packets()?;
        wire.clear();
    }
    Ok((client, server))
}

#[test]
fn between_proxies_the_key_exchange_is_post_quantum_and_sessions_resume() {
    let ca = Authority::new();
    let (client, server) = (client_config(mesh(), &ca.store("a", 1)), server_config(mesh(), &ca.store("b", 2)));
    let (first, _) = handshake(&client, &server).unwrap();
    assert_eq!(first.negotiated_key_exchange_group().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (second, resumed) = handshake(&client, &server).unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(resumed.peer_certificates().is_some(), "who the client is is known as after a full handshake");
}

#[test]
fn a_session_goes_on_at_another_worker_until_certificates_change() {
    let ca = Authority::new();
    let (client, certs, tickets) = (client_config(mesh(), &ca.store("a", 1)), ca.store("b", 2), Tickets::default());
    let [first, second] = [(); 2].map(|()| server_sharing(&tickets, mesh(), &certs));
    handshake(&client, &first).unwrap();
    let (again, _) = handshake(&client, &second).unwrap();
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
    certs.replace_roots(ca.roots());
    let (anew, _) = handshake(&client, &server_sharing(&tickets, mesh(), &certs)).unwrap();
    assert_eq!(anew.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn a_session_ends_with_the_certificate_that_it_began_with() {
    let ca = Authority::new();
    let (client, server) = (client_config(mesh(), &ca.store("a", 1)), server_config(mesh(), &ca.store("b", 2)));
    let (_, full) = handshake(&client, &server).unwrap();
    let (_, resumed) = handshake(&client, &server).unwrap();
    let judge = |connection: &ServerConnection, not_after, validation: &Validation| {
        let mut info = TlsInfo::new(connection, None);
        info.peer.as_mut().unwrap().not_after = not_after;
        info.check_expiry(connection, validation).is_ok()
    };
    let mesh = mesh().validation;
    let real = TlsInfo::new(&resumed, None).peer.unwrap().not_after;
    assert!(real.is_some() && judge(&resumed, real, &mesh));
    assert!(!judge(&resumed, Some(0), &mesh), "expired since");
    assert!(judge(&full, Some(0), &mesh), "the chain was judged just now");
    assert!(judge(&resumed, Some(0), &Validation { accept_untrusted: true, ..mesh }), "nobody asked for a good one");
}

#[test]
fn versions_ciphers_and_curves_are_as_configured() {
    let ca = Authority::new();
    let (a, b) = (ca.store("a", 1), ca.store("b", 2));
    let old = || CommonTls { max: TlsVersion::V12, ..mesh() };
    let ciphers = |all: &[&str]| CommonTls { ciphers: names(all), ..mesh() };

    let limited = server_config(ciphers(&["AES128-SHA", "ECDHE-ECDSA-AES256-GCM-SHA384"]), &b);
    let (done, _) = handshake(&client_config(old(), &a), &limited).unwrap();
    assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let suite = done.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    let (done, _) = handshake(&client_config(mesh(), &a), &limited).unwrap();
    assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_3), "its ciphers are not limited");

    let newest = server_config(CommonTls { min: TlsVersion::V13, ..mesh() }, &b);
    assert!(handshake(&client_config(old(), &a), &newest).is_err());
    handshake(&client_config(mesh(), &a), &newest).unwrap();

    let curved = server_config(CommonTls { curves: names(&["P-521", "P-384"]), ..mesh() }, &b);
    let (done, _) = handshake(&client_config(mesh(), &a), &curved).unwrap();
    assert_eq!(done.negotiated_key_exchange_group().map(|group| group.name()), Some(NamedGroup::secp384r1));
}

#[test]
fn what_this_proxy_cannot_do_is_said() {
    let ca = Authority::new();
    let certs = ca.store("a", 1);
    let build = |common: CommonTls| {
        let tls = DownstreamTls { common, require_client_certificate: true };
        let tickets = Tickets::default().of(1, &(1, None)).unwrap();
        server::config(&tls, None, &certs, tickets).unwrap_err().to_string()
    };
    let error = build(CommonTls { ciphers: names(&["AES128-SHA"]), max: TlsVersion::V12, ..mesh() });
    assert!(error.contains("AES128-SHA"), "{error}");
    let error = build(CommonTls { curves: names(&["P-521"]), ..mesh() });
    assert!(error.contains("P-521"), "{error}");
}

#[test]
fn a_revoked_workload_is_refused_and_others_are_not() {
    let ca = Authority::new();
    let server = ca.store("b", 3);
    let pem = ca.revoking(1);
    server.replace_roots(Roots { revoked: Some(pem.into_bytes().into()), ..ca.roots() });
    let server = server_config(mesh(), &server);
    let refused = handshake(&client_config(mesh(), &ca.store("revoked", 1)), &server).unwrap_err();
    assert_eq!(refused, rustls::CertificateError::Revoked.into());
    handshake(&client_config(mesh(), &ca.store("good", 2)), &server).unwrap();
}

#[test]
fn both_roots_count_while_one_takes_over_from_the_other() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = || Roots::new(vec![old.root.clone(), new.root.clone()]).unwrap();
    let (behind, ahead) = (old.store("a", 1), new.store("b", 2));
    assert!(handshake(&client_config(mesh(), &behind), &server_config(mesh(), &ahead)).is_err());
    behind.replace_roots(both());
    ahead.replace_roots(both());
    handshake(&client_config(mesh(), &behind), &server_config(mesh(), &ahead)).unwrap();
    handshake(&client_config(mesh(), &ahead), &server_config(mesh(), &behind)).unwrap();
}
