//! Settings of Istio's own HTTP filters, as far as they are used here.

use std::sync::Arc;

use lateen_api::envoy::google::protobuf::Struct;

use super::filter::FromStruct;
use crate::http::{Alpn, AlpnOverride, PeerMetadata};
use crate::provenance::{as_struct, as_text, fields, list, text};

/// `io.istio.http.peer_metadata.Config`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMetadataConfig {
    #[prost(message, repeated, tag = "1")]
    pub downstream_discovery: Vec<Method>,
    #[prost(message, repeated, tag = "2")]
    pub upstream_discovery: Vec<Method>,
    #[prost(message, repeated, tag = "3")]
    pub downstream_propagation: Vec<Propagation>,
    #[prost(message, repeated, tag = "4")]
    pub upstream_propagation: Vec<Propagation>,
}

/// A way to learn; only by headers is of interest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Method {
    #[prost(message, optional, tag = "3")]
    pub istio_headers: Option<Headers>,
}

/// A way to tell; only by headers is of interest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Propagation {
    #[prost(message, optional, tag = "1")]
    pub istio_headers: Option<Headers>,
}

/// By headers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Headers {
    #[prost(bool, tag = "1")]
    pub skip_external_clusters: bool,
}

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlpnConfig {
    #[prost(message, repeated, tag = "1")]
    pub alpn_override: Vec<AlpnEntry>,
}

/// Protocols for one HTTP version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlpnEntry {
    /// 0: HTTP/1.0, 1: HTTP/1.1, 2: HTTP/2.
    #[prost(int32, tag = "1")]
    pub upstream_protocol: i32,
    #[prost(string, repeated, tag = "2")]
    pub alpn_override: Vec<String>,
}

impl FromStruct for PeerMetadataConfig {
    fn from_struct(config: &Struct) -> Self {
        let headers = |key: &str| -> Vec<Option<Headers>> {
            let methods = list(config, key).iter().filter_map(as_struct);
            methods
                .map(|method| {
                    let found = fields(method, "istio_headers").or_else(|| fields(method, "istioHeaders"))?;
                    let skip = ["skip_external_clusters", "skipExternalClusters"];
                    Some(Headers { skip_external_clusters: skip.iter().any(|key| found.fields.contains_key(*key)) })
                })
                .collect()
        };
        let both = |snake: &str, camel: &str| [headers(snake), headers(camel)].concat();
        let method = |istio_headers| Method { istio_headers };
        let tell = |istio_headers| Propagation { istio_headers };
        Self {
            downstream_discovery: both("downstream_discovery", "downstreamDiscovery").into_iter().map(method).collect(),
            upstream_discovery: both("upstream_discovery", "upstreamDiscovery").into_iter().map(method).collect(),
            downstream_propagation: both("downstream_propagation", "downstreamPropagation")
                .into_iter()
                .map(tell)
                .collect(),
            upstream_propagation: both("upstream_propagation", "upstreamPropagation").into_iter().map(tell).collect(),
        }
    }
}

impl FromStruct for AlpnConfig {
    fn from_struct(config: &Struct) -> Self {
        let entries = [list(config, "alpn_override"), list(config, "alpnOverride")].concat();
        let entry = |fields: &Struct| AlpnEntry {
            upstream_protocol: match text(fields, "upstream_protocol").or_else(|| text(fields, "upstreamProtocol")) {
                Some("HTTP11") => 1,
                Some("HTTP2") => 2,
                _ => 0,
            },
            alpn_override: [list(fields, "alpn_override"), list(fields, "alpnOverride")]
                .concat()
                .iter()
                .filter_map(|value| as_text(value).map(str::to_owned))
                .collect(),
        };
        Self { alpn_override: entries.iter().filter_map(as_struct).map(entry).collect() }
    }
}

pub fn peer_metadata(config: &PeerMetadataConfig) -> PeerMetadata {
    let learns = |methods: &[Method]| methods.iter().any(|method| method.istio_headers.is_some());
    let tells = |methods: &[Propagation]| methods.iter().any(|method| method.istio_headers.is_some());
    let skips = |method: &Propagation| method.istio_headers.as_ref().is_some_and(|h| h.skip_external_clusters);
    PeerMetadata {
        discover_downstream: learns(&config.downstream_discovery),
        discover_upstream: learns(&config.upstream_discovery),
        tell_downstream: tells(&config.downstream_propagation),
        tell_upstream: tells(&config.upstream_propagation),
        skip_external: config.upstream_propagation.iter().any(skips),
    }
}

pub fn alpn(config: &AlpnConfig) -> AlpnOverride {
    let protocols = |version: i32| {
        let entry = config.alpn_override.iter().find(|entry| entry.upstream_protocol == version);
        let names = entry.map(|entry| entry.alpn_override.iter().map(|name| Arc::from(name.as_str())).collect());
        names.map(Alpn::new).unwrap_or_default()
    };
    AlpnOverride { http10: protocols(0), http11: protocols(1), http2: protocols(2) }
}
