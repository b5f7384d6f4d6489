//! TLS of listeners: which certificates they show, and what they ask of clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_api::gateway_api as api;
use lateen_api::istio::{ServerTlsMode, ServerTlsSettings};
use lateen_mesh::tls::{CIPHERS, known};

use super::grant::{From, To};
use super::{Cluster, Objects, Problem};
use crate::resource::Credential;

/// How names of Secrets begin that gateways may have by reference, also from other namespaces.
pub(crate) const GATEWAY_SECRET: &str = "kubernetes-gateway://";
/// How names of ConfigMaps with roots begin.
pub(crate) const CONFIG_MAP: &str = "configmap://";

/// Option of a listener that says how TLS ends.
const TERMINATE_MODE: &str = "gateway.istio.io/tls-terminate-mode";
/// Option of a listener with its cipher suites.
const CIPHER_SUITES: &str = "gateway.istio.io/tls-cipher-suites";
/// Option of a listener that makes it the entrance from other networks.
const LISTENER_PROTOCOL: &str = "gateway.istio.io/listener-protocol";

/// Who has a listener.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    /// Gateway or ListenerSet.
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// The TLS of a listener, and the Secrets and ConfigMaps it takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) settings: ServerTlsSettings,
    /// Namespace and name of each Secret.
    pub(super) secrets: Vec<(String, String)>,
}

/// What is wrong with the TLS of a listener: the problem with its references, and why it isn't accepted.
#[derive(Clone, Debug)]
pub(super) struct BadTls {
    pub(super) references: Problem,
    pub(super) accepted: Problem,
}

impl BadTls {
    fn new(references: Problem) -> Self {
        let accepted = Problem::new("NoValidCACertificate", references.message.clone());
        Self { references, accepted }
    }
}

/// Makes the TLS of a listener. `frontend` is what its Gateway asks of clients on this port.
pub(super) fn tls(
    wanted: &api::ListenerTls,
    frontend: Option<&api::FrontendValidation>,
    owner: Owner<'_>,
    gateway_namespace: &str,
    objects: &Objects<'_>,
    cluster: &dyn Cluster,
) -> Result<Tls, BadTls> {
    let option = |name: &str| wanted.options.get(name).map(String::as_str);
    let mut made = Tls::default();
    let suites: Vec<String> =
        option(CIPHER_SUITES).unwrap_or_default().split(',').map(|suite| suite.trim().to_owned()).collect();
    made.settings.cipher_suites = known(&suites, &CIPHERS);
    if wanted.mode == Some(api::CertificateMode::Passthrough) {
        let automatic = option(LISTENER_PROTOCOL) == Some("auto-passthrough");
        made.settings.mode = automatic.then_some(ServerTlsMode::AutoPassthrough);
        return Ok(made);
    }
    let mut mode = ServerTlsMode::Simple;
    match option(TERMINATE_MODE) {
        Some("ISTIO_MUTUAL") => {
            made.settings.mode = Some(ServerTlsMode::IstioMutual);
            return Ok(made);
        }
        Some("ISTIO_SIMPLE") => {
            made.settings.mode = Some(ServerTlsMode::Simple);
            made.settings.credential_name = "builtin://".to_owned();
            return Ok(made);
        }
        Some("MUTUAL") => mode = ServerTlsMode::Mutual,
        Some("OPTIONAL_MUTUAL") => mode = ServerTlsMode::OptionalMutual,
        _ => {}
    }
    let names = certificates(wanted, owner, objects, cluster, &mut made).map_err(BadTls::new)?;
    match <[String; 1]>::try_from(names) {
        Ok([name]) => made.settings.credential_name = name,
        Err(names) => made.settings.credential_names = names,
    }
    if let Some(validation) = frontend {
        let (kind, namespace, name) = client_roots(validation, gateway_namespace, objects, cluster)?;
        let prefix = if kind == "ConfigMap" { CONFIG_MAP } else { GATEWAY_SECRET };
        made.settings.ca_cert_credential_name = format!("{prefix}{namespace}/{name}-cacert");
        made.secrets.extend((kind == "Secret").then_some((namespace, name)));
        let fallback = is_insecure(validation);
        made.settings.insecure_skip_verify = Some(fallback);
        mode = match mode {
            ServerTlsMode::OptionalMutual => mode,
            _ if fallback => ServerTlsMode::OptionalMutual,
            _ => ServerTlsMode::Mutual,
        };
    }
    made.settings.mode = Some(mode);
    Ok(made)
}

/// Are clients let in whose certificate isn't valid.
pub(super) fn is_insecure(validation: &api::FrontendValidation) -> bool {
    validation.mode.as_deref() == Some("AllowInsecureFallback")
}

fn certificates(
    wanted: &api::ListenerTls,
    owner: Owner<'_>,
    objects: &Objects<'_>,
    cluster: &dyn Cluster,
    made: &mut Tls,
) -> Result<Vec<String>, Problem> {
    let refs = &wanted.certificate_refs;
    if refs.is_empty() || refs.len() > 2 {
        let message = "one certificateRef is needed for TLS termination, or two of different key types";
        return Err(Problem::new("InvalidCertificateRef", message));
    }
    let mut names = Vec::new();
    for reference in refs {
        let refuse = |why: &str| {
            let shown = shown(reference);
            Problem::new("InvalidCertificateRef", format!("invalid certificate reference {shown}, {why}"))
        };
        let namespace = reference.namespace.as_deref().unwrap_or(owner.namespace);
        if !is_kind(reference, "Secret", "Secret") {
            return Err(refuse("only secret is allowed"));
        }
        let to = To { group: "", kind: "Secret", namespace, name: &reference.name };
        if !objects.grants(From { kind: owner.kind, namespace: owner.namespace }, to) {
            let message = format!(
                "certificateRef {}/{namespace} not accessible to a Gateway in namespace \"{}\" (missing a \
                 ReferenceGrant?)",
                reference.name, owner.namespace
            );
            return Err(Problem::new("RefNotPermitted", message));
        }
        check_pair(namespace, &reference.name, cluster).map_err(|why| refuse(&why))?;
        names.push(format!("{GATEWAY_SECRET}{namespace}/{}", reference.name));
        made.secrets.push((namespace.to_owned(), reference.name.clone()));
    }
    Ok(names)
}

/// Is there a Secret with a certificate and its key.
pub(super) fn check_pair(namespace: &str, name: &str, cluster: &dyn Cluster) -> Result<(), String> {
    let secret = cluster.secret(namespace, name).ok_or_else(|| format!("secret {namespace}/{name} not found"))?;
    let Some(pair) = &secret.pair else {
        return Err("found secret, but didn't have expected keys (cert and key) or (tls.crt and tls.key)".to_owned());
    };
    let malformed =
        |part: &str| format!("the certificate is malformed: tls: failed to find any PEM data in {part} input");
    if !has_pem(&pair.chain, "CERTIFICATE") {
        return Err(malformed("certificate"));
    }
    if !has_pem(&pair.key, "PRIVATE KEY") {
        return Err(malformed("key"));
    }
    Ok(())
}

/// The first root for client certificates that can be used: kind, namespace and name.
fn client_roots(
    validation: &api::FrontendValidation,
    gateway_namespace: &str,
    objects: &Objects<'_>,
    cluster: &dyn Cluster,
) -> Result<(&'static str, String, String), BadTls> {
    let mut problem = Problem::new("InvalidCACertificateRef", "caCertificateRefs names no certificate");
    for reference in &validation.ca_certificate_refs {
        match roots(reference, gateway_namespace, "caCertificateRef", objects, cluster) {
            Ok(found) => return Ok(found),
            Err(why) => problem = why,
        }
    }
    Err(BadTls::new(problem))
}

/// The roots that a reference of a Gateway leads to: kind, namespace and name.
pub(super) fn roots(
    reference: &api::ObjectRef,
    own: &str,
    field: &str,
    objects: &Objects<'_>,
    cluster: &dyn Cluster,
) -> Result<(&'static str, String, String), Problem> {
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    let kind = if is_kind(reference, "ConfigMap", "ConfigMap") { "ConfigMap" } else { "Secret" };
    if kind == "Secret" && !is_kind(reference, "Secret", "ConfigMap") {
        let message = format!("invalid {field} {}, only ConfigMap and Secret are allowed", shown(reference));
        return Err(Problem::new("InvalidCACertificateKind", message));
    }
    let to = To { group: "", kind, namespace, name: &reference.name };
    if !objects.grants(From { kind: "Gateway", namespace: own }, to) {
        let name = &reference.name;
        let message = format!(
            "{field} {name}/{namespace} not accessible to a Gateway in namespace \"{own}\" (missing a ReferenceGrant?)"
        );
        return Err(Problem::new("RefNotPermitted", message));
    }
    let pem = match kind {
        "ConfigMap" => cluster.config_map_roots(namespace, &reference.name),
        _ => cluster.secret(namespace, &reference.name).and_then(|secret: &Credential| secret.roots.as_deref()),
    };
    if pem.is_none_or(|pem| !has_pem(pem, "CERTIFICATE")) {
        let lower = if kind == "ConfigMap" { "configmap" } else { "secret" };
        let message = format!(
            "invalid {field} {}, {lower} {namespace}/{} with a PEM certificate in ca.crt not found",
            shown(reference),
            reference.name
        );
        return Err(Problem::new("InvalidCACertificateRef", message));
    }
    Ok((kind, namespace.to_owned(), reference.name.clone()))
}

/// Is a reference to a kind of the core group; `default` is the kind where none is named.
pub(super) fn is_kind(reference: &api::ObjectRef, kind: &str, default: &str) -> bool {
    reference.group.as_deref().unwrap_or_default().is_empty() && reference.kind.as_deref().unwrap_or(default) == kind
}

/// A reference in messages: `group/kind/name.namespace`.
pub(super) fn shown(reference: &api::ObjectRef) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}/{}.{}", or(&reference.group), or(&reference.kind), reference.name, or(&reference.namespace))
}

/// Is there a block of PEM whose label ends like this.
fn has_pem(bytes: &[u8], label: &str) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.split("-----BEGIN ").skip(1).any(|block| {
        let Some((name, rest)) = block.split_once("-----") else { return false };
        let Some((body, _)) = rest.split_once("-----END ") else { return false };
        let body: String = body.split_whitespace().collect();
        name.ends_with(label) && STANDARD.decode(body).is_ok_and(|der| !der.is_empty())
    })
}
