//! HTTP connection managers.

use std::sync::Arc;
use std::time::Duration;

use lateen_api::envoy::envoy::config::core::v3::Http1ProtocolOptions;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager,
    http_connection_manager::{RouteSpecifier, StripPortMode},
};

use super::access_log::access_logs;
use super::convert::{number, some_duration, truth};
use super::table::route_table;
use super::{Context, LoadError, filter};
use crate::http::{
    ClientCertDetails, Codec, EscapedSlashes, ForwardClientCert, Hcm, Http2Settings, Routes, ServerHeader, Underscores,
};
use crate::tables::RouteTableId;

/// Loads a connection manager.
pub fn hcm(context: &mut Context<'_>, proto: &HttpConnectionManager) -> Result<Hcm, LoadError> {
    let common = proto.common_http_protocol_options.unwrap_or_default();
    let http1 = proto.http_protocol_options.clone().unwrap_or_default();
    Ok(Hcm {
        stat_prefix: proto.stat_prefix.as_str().into(),
        codec: match proto.codec_type {
            1 => Codec::Http1,
            2 => Codec::Http2,
            _ => Codec::Auto,
        },
        routes: routes(context, proto)?,
        filters: filter::filters(context, &proto.http_filters)?,
        server_name: if proto.server_name.is_empty() { "envoy".into() } else { proto.server_name.as_str().into() },
        server_header: match proto.server_header_transformation {
            1 => ServerHeader::IfAbsent,
            2 => ServerHeader::PassThrough,
            _ => ServerHeader::Overwrite,
        },
        via: proto.via.as_str().into(),
        forward_client_cert: forward_client_cert(proto.forward_client_cert_details),
        client_cert: client_cert(proto),
        use_remote_address: truth(proto.use_remote_address.as_ref(), false),
        trusted_hops: proto.xff_num_trusted_hops,
        skip_xff_append: proto.skip_xff_append,
        generate_request_id: truth(proto.generate_request_id.as_ref(), true),
        preserve_external_request_id: proto.preserve_external_request_id,
        request_id_in_response: proto.always_set_request_id_in_response,
        proxy_100_continue: proto.proxy_100_continue,
        stream_idle_timeout: or_default(proto.stream_idle_timeout.as_ref(), Duration::from_secs(300)),
        request_timeout: some_duration(proto.request_timeout.as_ref()),
        headers_timeout: some_duration(proto.request_headers_timeout.as_ref()),
        idle_timeout: or_default(common.idle_timeout.as_ref(), Duration::from_secs(3600)),
        max_connection_duration: some_duration(common.max_connection_duration.as_ref()),
        max_stream_duration: some_duration(common.max_stream_duration.as_ref()),
        max_requests_per_connection: number(common.max_requests_per_connection).unwrap_or(0),
        max_head: number(proto.max_request_headers_kb).unwrap_or(60).clamp(1, 8192) as usize * 1024,
        max_headers: number(common.max_headers_count).unwrap_or(100).clamp(1, 10_000) as usize,
        underscores: match common.headers_with_underscores_action {
            1 => Underscores::Reject,
            2 => Underscores::Drop,
            _ => Underscores::Allow,
        },
        normalize_path: truth(proto.normalize_path.as_ref(), false),
        merge_slashes: proto.merge_slashes,
        escaped_slashes: match proto.path_with_escaped_slashes_action {
            2 => EscapedSlashes::Reject,
            3 => EscapedSlashes::UnescapeAndRedirect,
            4 => EscapedSlashes::UnescapeAndForward,
            _ => EscapedSlashes::Keep,
        },
        strip_matching_port: proto.strip_matching_host_port,
        strip_any_port: matches!(proto.strip_port_mode, Some(StripPortMode::StripAnyHostPort(true))),
        upgrades: proto
            .upgrade_configs
            .iter()
            .map(|upgrade| (upgrade.upgrade_type.as_str().into(), truth(upgrade.enabled.as_ref(), true)))
            .collect(),
        http2: http2(proto),
        accept_http10: http1.accept_http_10,
        default_host_http10: http1.default_host_for_http_10.as_str().into(),
        preserve_case: preserves_case(&http1),
        access_logs: access_logs(&proto.access_log)?,
    })
}

/// A duration of which zero means none and absence the default.
fn or_default(value: Option<&lateen_api::envoy::google::protobuf::Duration>, default: Duration) -> Option<Duration> {
    if value.is_none() { Some(default) } else { some_duration(value) }
}

fn preserves_case(http1: &Http1ProtocolOptions) -> bool {
    use lateen_api::envoy::envoy::config::core::v3::http1_protocol_options::header_key_format::HeaderFormat;
    let format = http1.header_key_format.as_ref().and_then(|format| format.header_format.as_ref());
    matches!(format, Some(HeaderFormat::StatefulFormatter(_)))
}

fn routes(context: &mut Context<'_>, proto: &HttpConnectionManager) -> Result<Routes, LoadError> {
    match &proto.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            Ok(Routes::Discovered(RouteTableId(context.route_tables.intern(&rds.route_config_name))))
        }
        Some(RouteSpecifier::RouteConfig(config)) => Ok(Routes::Inline(Arc::new(route_table(context, config)?))),
        Some(RouteSpecifier::ScopedRoutes(_)) => Err(LoadError::Unsupported("scoped routes".into())),
        None => Err(LoadError::invalid("an HTTP connection manager has no routes")),
    }
}

fn forward_client_cert(number: i32) -> ForwardClientCert {
    match number {
        1 => ForwardClientCert::ForwardOnly,
        2 => ForwardClientCert::AppendForward,
        3 => ForwardClientCert::SanitizeSet,
        4 => ForwardClientCert::AlwaysForward,
        _ => ForwardClientCert::Sanitize,
    }
}

fn client_cert(proto: &HttpConnectionManager) -> ClientCertDetails {
    let details = proto.set_current_client_cert_details.unwrap_or_default();
    ClientCertDetails {
        subject: truth(details.subject.as_ref(), false),
        cert: details.cert,
        chain: details.chain,
        dns: details.dns,
        uri: details.uri,
    }
}

fn http2(proto: &HttpConnectionManager) -> Http2Settings {
    let options = proto.http2_protocol_options.as_ref();
    let setting = |value: Option<Option<u32>>, default: u32| value.flatten().unwrap_or(default);
    Http2Settings {
        max_concurrent_streams: setting(options.map(|http2| number(http2.max_concurrent_streams)), 1024).max(1),
        stream_window: setting(options.map(|http2| number(http2.initial_stream_window_size)), 1 << 20),
        connection_window: setting(options.map(|http2| number(http2.initial_connection_window_size)), 16 << 20),
    }
}
