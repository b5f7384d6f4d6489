//! ServerTLSSettings, of a Gateway's server or a Sidecar's ingress.

use lateen_mesh::tls::CIPHERS;

use super::cursor::{At, Report};

pub(super) fn check(at: &At<'_>, report: &mut Report) {
    let mode = at.get("mode").text();
    warn_ciphers(&at.get("cipherSuites"), report);
    warn_unused(at, mode, report);
    match mode {
        "ISTIO_MUTUAL" => check_workload_certificate(at, report),
        "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL" => check_certificates(at, mode, report),
        _ => {}
    }
}

fn warn_ciphers(list: &At<'_>, report: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    for cipher in list.items() {
        if !CIPHERS.contains(&cipher.text()) {
            report.warn(&cipher, format!("{} is not a known cipher suite and is ignored", cipher.text()));
        } else if seen.contains(&cipher.text()) {
            report.warn(&cipher, format!("{} is listed twice", cipher.text()));
        }
        seen.push(cipher.text());
    }
}

/// A connection that is passed through is never decrypted here.
fn warn_unused(at: &At<'_>, mode: &str, report: &mut Report) {
    if !matches!(mode, "PASSTHROUGH" | "AUTO_PASSTHROUGH") {
        return;
    }
    let fields = ["serverCertificate", "privateKey", "caCertificates", "caCrl", "credentialName", "credentialNames"];
    if let Some(used) = fields.iter().map(|name| at.get(name)).find(|field| !field.is_blank()) {
        report.warn(&used, format!("{mode} mode does not use certificates"));
    }
}

/// The proxy brings its own certificate: none can be given.
fn check_workload_certificate(at: &At<'_>, report: &mut Report) {
    for name in ["serverCertificate", "privateKey", "caCertificates", "credentialName", "credentialNames"] {
        if !at.get(name).is_blank() {
            report.error(&at.get(name), format!("ISTIO_MUTUAL TLS cannot have associated {name}"));
        }
    }
}

fn check_certificates(at: &At<'_>, mode: &str, report: &mut Report) {
    let set = |name: &str| !at.get(name).is_blank();
    let files = set("serverCertificate");
    let sources = [set("credentialName"), set("credentialNames"), set("tlsCertificates"), files];
    if sources.iter().filter(|given| **given).count() > 1 {
        let names = "credential_name, credential_names, tls_certificates or server_certificate";
        report.error(at, format!("only one of {names} can be set"));
    }
    warn_many(at, mode, report);
    if set("credentialName") || set("credentialNames") {
        return;
    }
    let certificates = at.get("tlsCertificates").items();
    if certificates.is_empty() {
        check_pair(at, mode, report);
    }
    for certificate in &certificates {
        check_pair(certificate, mode, report);
    }
    if mode != "SIMPLE" && !set("caCertificates") {
        report.error(&at.get("caCertificates"), format!("{mode} TLS requires a client CA bundle"));
    }
}

fn check_pair(at: &At<'_>, mode: &str, report: &mut Report) {
    if at.get("serverCertificate").is_blank() {
        report.error(&at.get("serverCertificate"), format!("{mode} TLS requires a server certificate"));
    }
    if at.get("privateKey").is_blank() {
        report.error(&at.get("privateKey"), format!("{mode} TLS requires a private key"));
    }
}

/// One certificate for RSA and one for ECDSA.
fn warn_many(at: &At<'_>, mode: &str, report: &mut Report) {
    for name in ["tlsCertificates", "credentialNames"] {
        if at.get(name).items().len() > 2 {
            report.warn(&at.get(name), format!("{mode} TLS can support up to 2 server certificates"));
        }
    }
}
