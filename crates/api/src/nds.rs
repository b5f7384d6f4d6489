//! The name table that a DNS-capturing proxy answers from (`istio.networking.nds.v1`).

use std::collections::BTreeMap;

/// Host names and the addresses they resolve to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameTable {
    /// Entries by fully qualified host name, wildcards included.
    #[prost(btree_map = "string, message", tag = "1")]
    pub table: BTreeMap<String, name_table::NameInfo>,
}

impl prost::Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";
    fn type_url() -> String {
        crate::type_url::NAME_TABLE.into()
    }
}

/// Parts of a [`NameTable`].
pub mod name_table {
    /// What one host name resolves to.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NameInfo {
        /// Addresses to answer with.
        #[prost(string, repeated, tag = "1")]
        pub ips: Vec<String>,
        /// Where the name comes from: `Kubernetes` or `External`.
        #[prost(string, tag = "2")]
        pub registry: String,
        /// Name without namespace and domain, for Kubernetes services.
        #[prost(string, tag = "3")]
        pub shortname: String,
        /// Namespace, for Kubernetes services.
        #[prost(string, tag = "4")]
        pub namespace: String,
        /// Further names that resolve to the same addresses.
        #[prost(string, repeated, tag = "5")]
        pub alt_hosts: Vec<String>,
    }
}
