//! Access logs, as the settings of the mesh ask for them.

use std::collections::HashMap;

use lateen_api::envoy::envoy::config::accesslog::v3 as proto;
use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat};
use lateen_api::google::protobuf::Struct;

use super::provenance::text;
use super::wire::any;
use crate::resource::MeshConfig;

/// Istio's default line.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% \
%ROUTE_NAME%\n";

/// Istio's default JSON keys.
const JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Logs of requests and connections; none unless the mesh has a log file.
pub fn requests(mesh: &MeshConfig) -> Vec<proto::AccessLog> {
    log(mesh, None)
}

/// Logs of connections that no filter chain is for.
pub fn unmatched(mesh: &MeshConfig) -> Vec<proto::AccessLog> {
    if mesh.raw.disable_envoy_listener_log {
        return Vec::new();
    }
    let flags = proto::ResponseFlagFilter { flags: vec!["NR".into()] };
    let filter = proto::access_log_filter::FilterSpecifier::ResponseFlagFilter(flags);
    log(mesh, Some(proto::AccessLogFilter { filter_specifier: Some(filter) }))
}

fn log(mesh: &MeshConfig, filter: Option<proto::AccessLogFilter>) -> Vec<proto::AccessLog> {
    let Some(path) = mesh.access_log_file() else { return Vec::new() };
    let file = FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(AccessLogFormat::LogFormat(core::SubstitutionFormatString {
            format: Some(format(mesh)),
            ..Default::default()
        })),
    };
    vec![proto::AccessLog {
        name: "envoy.access_loggers.file".into(),
        filter,
        config_type: Some(proto::access_log::ConfigType::TypedConfig(any(&file))),
    }]
}

fn format(mesh: &MeshConfig) -> core::substitution_format_string::Format {
    use core::substitution_format_string::Format;
    let own = mesh.raw.access_log_format.as_str();
    if mesh.access_log_json() {
        let parsed: Option<HashMap<String, String>> = serde_json::from_str(own).ok();
        let pairs = parsed.unwrap_or_else(|| JSON.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        return Format::JsonFormat(Struct { fields: pairs.into_iter().map(|(k, v)| (k, text(&v))).collect() });
    }
    let line = match own {
        "" => TEXT.to_owned(),
        own if own.ends_with('\n') => own.to_owned(),
        own => format!("{own}\n"),
    };
    Format::TextFormatSource(core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(line)),
        ..Default::default()
    })
}
