use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{TargetRef, WorkloadSelector};

/// Which TLS workloads accept from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Workloads this is for; all of the namespace, or of the mesh, if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// For all ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<MutualTls>,
    /// For single ports of the workload; needs a selector.
    #[schemars(extend("minProperties" = 1, "x-kubernetes-validations" = [{"message": "port must be between 1-65535", "rule": "self.all(key, 0 < int(key) && int(key) <= 65535)"}]))]
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// Mutual TLS setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MutualTls {
    /// What is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<MutualTlsMode>,
}

/// What is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the parent says; PERMISSIVE if no one does.
    Unset,
    /// Plain text only.
    Disable,
    /// Plain text and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// Which tokens requests may carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// Workloads this is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// Object this attaches to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Objects this attaches to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// The accepted tokens.
    #[schemars(length(max = 4096))]
    pub jwt_rules: Vec<JwtRule>,
}

/// One kind of token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// Who issued it.
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// Audiences, one of which it must have.
    pub audiences: Vec<String>,
    /// Where the keys are.
    #[serde(alias = "jwks_uri")]
    #[schemars(length(min = 1, max = 2048))]
    pub jwks_uri: String,
    /// The keys themselves.
    pub jwks: String,
    /// Headers that carry it.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry it.
    pub from_params: Vec<String>,
    /// Cookies that carry it.
    pub from_cookies: Vec<String>,
    /// Header to put the payload into.
    pub output_payload_to_header: String,
    /// Keep the token when forwarding.
    pub forward_original_token: bool,
    /// Claims to copy into headers.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Time limit for fetching keys; default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Claims that hold lists separated by spaces.
    #[schemars(length(max = 64))]
    pub space_delimited_claims: Vec<String>,
    /// Must a token be present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<JwtPresence>,
}

/// Must a token be present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JwtPresence {
    /// It may be missing.
    Optional,
    /// It must be there.
    Required,
}

/// A header that carries a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct JwtHeader {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What precedes the token in its value.
    pub prefix: String,
}

/// A claim to copy into a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["header", "claim"]))]
pub struct ClaimToHeader {
    /// The header.
    #[schemars(length(min = 1), regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub header: String,
    /// The claim.
    #[schemars(length(min = 1))]
    pub claim: String,
}

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// Workloads this is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// Object this attaches to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Objects this attaches to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Rules; the policy matches a request if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub rules: Option<Vec<AuthorizationRule>>,
    /// What happens to matching requests; default ALLOW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<AuthorizationAction>,
    /// External authorizer, for CUSTOM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<AuthorizationProvider>,
}

/// What happens to matching requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationAction {
    /// They are allowed, and others are not.
    Allow,
    /// They are denied.
    Deny,
    /// They are marked for audit.
    Audit,
    /// They are sent to an external authorizer.
    Custom,
}

/// External authorizer by the name of its provider in the mesh configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthorizationProvider {
    /// Name of the provider.
    pub name: String,
}

/// Who, what and under which conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthorizationRule {
    /// Callers; any if empty.
    #[schemars(length(max = 512))]
    pub from: Vec<AuthorizationFrom>,
    /// Operations; any if empty.
    pub to: Vec<AuthorizationTo>,
    /// Further conditions, all must hold.
    pub when: Vec<AuthorizationCondition>,
}

/// A caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthorizationFrom {
    /// The caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthorizationTo {
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

/// Properties of a caller; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Identities, `<trust domain>/ns/<namespace>/sa/<account>`.
    pub principals: Vec<String>,
    /// Identities it must not have.
    pub not_principals: Vec<String>,
    /// Token identities, `<issuer>/<subject>`.
    pub request_principals: Vec<String>,
    /// Token identities it must not have.
    pub not_request_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Namespaces it must not be in.
    pub not_namespaces: Vec<String>,
    /// Service accounts, `<namespace>/<account>` or `<account>`.
    #[schemars(length(max = 16))]
    pub service_accounts: Vec<String>,
    /// Service accounts it must not have.
    #[schemars(length(max = 16))]
    pub not_service_accounts: Vec<String>,
    /// Addresses of the connection.
    pub ip_blocks: Vec<String>,
    /// Addresses it must not have.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the original client.
    pub remote_ip_blocks: Vec<String>,
    /// Addresses the original client must not have.
    pub not_remote_ip_blocks: Vec<String>,
    /// Trust domains.
    pub trust_domains: Vec<String>,
    /// Trust domains it must not be of.
    pub not_trust_domains: Vec<String>,
}

/// Properties of an operation; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Hosts.
    pub hosts: Vec<String>,
    /// Hosts excluded.
    pub not_hosts: Vec<String>,
    /// Ports.
    pub ports: Vec<String>,
    /// Ports excluded.
    pub not_ports: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Methods excluded.
    pub not_methods: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
    /// Paths excluded.
    pub not_paths: Vec<String>,
}

/// A condition on an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["key"]))]
pub struct AuthorizationCondition {
    /// The attribute.
    pub key: String,
    /// Values, one of which it must have.
    pub values: Vec<String>,
    /// Values it must not have.
    pub not_values: Vec<String>,
}
