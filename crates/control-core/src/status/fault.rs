//! Why something has no effect.

/// Kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// One word, as conditions have it.
    pub word: &'static str,
    /// Istio's message for the same, where it has one: code, name, level.
    pub message: Option<(&'static str, &'static str, &'static str)>,
}

/// Something of an object that is without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub reason: Reason,
    /// One plain line: which part of the object, why, and what to do.
    pub text: String,
}

impl Fault {
    pub(super) fn new(reason: Reason, text: String) -> Self {
        Fault { reason, text }
    }
}

const fn istio(word: &'static str, code: &'static str, name: &'static str, level: &'static str) -> Reason {
    Reason { word, message: Some((code, name, level)) }
}

const fn own(word: &'static str) -> Reason {
    Reason { word, message: None }
}

const NOT_FOUND: &str = "ReferencedResourceNotFound";

pub(super) const UNREADABLE: Reason = istio("Unreadable", "IST0106", "SchemaValidationError", "ERROR");
pub(super) const NO_PROXIES: Reason = own("NoProxies");
pub(super) const NOT_EXPORTED: Reason = own("NotExported");
pub(super) const HOST_UNKNOWN: Reason = istio("HostUnknown", "IST0101", NOT_FOUND, "ERROR");
pub(super) const RULE_HOST_UNKNOWN: Reason = istio("HostUnknown", "IST0174", "UnknownDestinationRuleHost", "WARNING");
pub(super) const HOST_OUT_OF_REACH: Reason = own("HostOutOfReach");
pub(super) const PORT_MISMATCH: Reason = own("PortMismatch");
pub(super) const SUBSET_UNKNOWN: Reason = istio("SubsetUnknown", "IST0101", NOT_FOUND, "ERROR");
pub(super) const SUBSET_WITHOUT_PODS: Reason =
    istio("SubsetWithoutPods", "IST0173", "DestinationRuleSubsetNotSelectPods", "ERROR");
pub(super) const GATEWAY_ABSENT: Reason = istio("GatewayAbsent", "IST0101", NOT_FOUND, "ERROR");
pub(super) const GATEWAY_WITHOUT_PROXIES: Reason = own("GatewayWithoutProxies");
pub(super) const HOST_NOT_IN_GATEWAY: Reason =
    istio("HostNotInGateway", "IST0132", "VirtualServiceHostNotFoundInGateway", "WARNING");
pub(super) const HOST_SHADOWED: Reason =
    istio("Shadowed", "IST0109", "ConflictingMeshGatewayVirtualServiceHosts", "ERROR");
pub(super) const SERVER_SHADOWED: Reason = istio("Shadowed", "IST0145", "ConflictingGateways", "ERROR");
pub(super) const SIDECAR_SHADOWED: Reason =
    istio("Shadowed", "IST0110", "ConflictingSidecarWorkloadSelectors", "ERROR");
pub(super) const DEFAULT_SIDECAR_SHADOWED: Reason =
    istio("Shadowed", "IST0111", "MultipleSidecarsWithoutWorkloadSelectors", "ERROR");
pub(super) const SHADOWED: Reason = own("Shadowed");
pub(super) const SERVER_PORT_MISMATCH: Reason =
    istio("PortMismatch", "IST0162", "GatewayPortNotDefinedOnService", "WARNING");
pub(super) const CREDENTIAL_ABSENT: Reason = istio("CredentialAbsent", "IST0161", "InvalidGatewayCredential", "ERROR");
pub(super) const NO_MATCHING_WORKLOADS: Reason =
    istio("NoMatchingWorkloads", "IST0127", "NoMatchingWorkloadsFound", "WARNING");
pub(super) const NO_ENDPOINTS: Reason = own("NoEndpoints");
pub(super) const DELEGATE: Reason = istio("DelegateNotInEffect", "IST0101", NOT_FOUND, "ERROR");
pub(super) const NOT_REFERRED_TO: Reason = own("NotReferredTo");
pub(super) const PROVIDER_ABSENT: Reason = istio("ProviderAbsent", "IST0101", NOT_FOUND, "ERROR");
pub(super) const KEYS_ABSENT: Reason = own("KeysAbsent");
pub(super) const NOT_ENFORCED: Reason = istio("NotEnforced", "IST0167", "IneffectivePolicy", "WARNING");
