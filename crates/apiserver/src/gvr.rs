//! Names of resources: group, version and plural name.

use std::{borrow::Cow, fmt};

/// Group, version and resource (plural name), the key by which clients address a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// API version, such as `v1`.
    pub version: Cow<'static, str>,
    /// Plural resource name, such as `pods`.
    pub resource: Cow<'static, str>,
}

impl Gvr {
    /// A resource named at compile time.
    pub const fn of(group: &'static str, version: &'static str, resource: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), version: Cow::Borrowed(version), resource: Cow::Borrowed(resource) }
    }

    /// A resource named at run time.
    pub fn new(group: impl Into<String>, version: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            group: Cow::Owned(group.into()),
            version: Cow::Owned(version.into()),
            resource: Cow::Owned(resource.into()),
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for Gvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

macro_rules! resources {
    ($($name:ident = $group:literal, $version:literal, $resource:literal;)*) => {
        $(
            #[doc = concat!("`", $resource, "` of `", $group, "/", $version, "`.")]
            pub static $name: Gvr = Gvr::of($group, $version, $resource);
        )*
    };
}

resources! {
    NAMESPACES = "", "v1", "namespaces";
    NODES = "", "v1", "nodes";
    PODS = "", "v1", "pods";
    SERVICES = "", "v1", "services";
    ENDPOINTS = "", "v1", "endpoints";
    CONFIG_MAPS = "", "v1", "configmaps";
    SECRETS = "", "v1", "secrets";
    SERVICE_ACCOUNTS = "", "v1", "serviceaccounts";
    EVENTS = "", "v1", "events";
    ENDPOINT_SLICES = "discovery.k8s.io", "v1", "endpointslices";
    DEPLOYMENTS = "apps", "v1", "deployments";
    REPLICA_SETS = "apps", "v1", "replicasets";
    STATEFUL_SETS = "apps", "v1", "statefulsets";
    DAEMON_SETS = "apps", "v1", "daemonsets";
    CONTROLLER_REVISIONS = "apps", "v1", "controllerrevisions";
    JOBS = "batch", "v1", "jobs";
    CRON_JOBS = "batch", "v1", "cronjobs";
    PERSISTENT_VOLUMES = "", "v1", "persistentvolumes";
    PERSISTENT_VOLUME_CLAIMS = "", "v1", "persistentvolumeclaims";
    STORAGE_CLASSES = "storage.k8s.io", "v1", "storageclasses";
    CLUSTER_ROLES = "rbac.authorization.k8s.io", "v1", "clusterroles";
    CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io", "v1", "clusterrolebindings";
    ROLES = "rbac.authorization.k8s.io", "v1", "roles";
    ROLE_BINDINGS = "rbac.authorization.k8s.io", "v1", "rolebindings";
    LEASES = "coordination.k8s.io", "v1", "leases";
    CUSTOM_RESOURCE_DEFINITIONS = "apiextensions.k8s.io", "v1", "customresourcedefinitions";
    MUTATING_WEBHOOKS = "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations";
    VALIDATING_WEBHOOKS = "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations";
}
