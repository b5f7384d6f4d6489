//! What a stock Envoy is started with: who it is, and that everything else comes from us.

use std::path::Path;

use serde_json::{Value, json};

use crate::config::Config;

/// `SOL_SOCKET` and `SO_MARK`.
const SOCKET_LEVEL: i32 = 1;
const SOCKET_MARK: i32 = 36;

/// The bootstrap configuration.
pub(super) fn bootstrap(config: &Config, secrets: &Path, discovery: &Path) -> Value {
    let node = &config.node;
    let locality = node
        .locality
        .as_ref()
        .map(|locality| json!({ "region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone }));
    let source = json!({ "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" });
    let mut bootstrap = json!({
        "node": {
            "id": node.id,
            "cluster": node.cluster,
            "locality": locality.unwrap_or_else(|| json!({})),
            "metadata": config.node_metadata,
        },
        "dynamic_resources": {
            "lds_config": source,
            "cds_config": source,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
        },
        "static_resources": { "clusters": [pipe("sds-grpc", secrets), pipe("xds-grpc", discovery)] },
        "layered_runtime": { "layers": [{ "name": "as Istio's proxies", "static_layer": {
            // A fragment is dropped rather than refused.
            "envoy.reloadable_features.http_reject_path_with_fragment": false,
        } }] },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": config.ports.admin } } },
    });
    if let Some(mark) = config.mark {
        let option = json!({
            "description": "known to the capture rules",
            "level": SOCKET_LEVEL,
            "name": SOCKET_MARK,
            "int_value": mark,
            "state": "STATE_PREBIND",
        });
        bootstrap["cluster_manager"] = json!({ "upstream_bind_config": { "socket_options": [option] } });
    }
    bootstrap
}

/// A cluster that is a Unix socket speaking HTTP/2.
fn pipe(name: &str, path: &Path) -> Value {
    let endpoint = json!({ "endpoint": { "address": { "pipe": { "path": path } } } });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    })
}
