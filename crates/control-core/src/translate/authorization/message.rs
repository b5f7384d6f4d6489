//! The filters' messages with sorted policies, so that equal rules are equal bytes. The fields are those of Envoy's
//! own messages.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::rbac::v3::Policy;
use lateen_api::envoy::envoy::extensions::filters::{http, network};
use prost::Message;

use crate::translate::wire::StandsFor;

/// Policies by name.
pub type Policies = BTreeMap<String, Policy>;

/// `envoy.config.rbac.v3.RBAC`
#[derive(Clone, PartialEq, Message)]
pub struct Rbac {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(btree_map = "string, message", tag = "2")]
    pub policies: Policies,
}

/// `envoy.extensions.filters.http.rbac.v3.RBAC`
#[derive(Clone, PartialEq, Message)]
pub struct HttpRbac {
    #[prost(message, optional, tag = "1")]
    pub rules: Option<Rbac>,
    #[prost(message, optional, tag = "2")]
    pub shadow_rules: Option<Rbac>,
    #[prost(string, tag = "3")]
    pub shadow_rules_stat_prefix: String,
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`
#[derive(Clone, PartialEq, Message)]
pub struct NetworkRbac {
    #[prost(message, optional, tag = "1")]
    pub rules: Option<Rbac>,
    #[prost(message, optional, tag = "2")]
    pub shadow_rules: Option<Rbac>,
    #[prost(string, tag = "3")]
    pub stat_prefix: String,
    #[prost(string, tag = "5")]
    pub shadow_rules_stat_prefix: String,
}

impl StandsFor for HttpRbac {
    type Of = http::rbac::v3::Rbac;
}

impl StandsFor for NetworkRbac {
    type Of = network::rbac::v3::Rbac;
}
