//! Access logs.

use std::sync::Arc;

use lateen_api::envoy::envoy::config::accesslog::v3::{
    AccessLog as ProtoLog, AccessLogFilter, ComparisonFilter, access_log::ConfigType,
    access_log_filter::FilterSpecifier,
};
use lateen_api::envoy::envoy::config::core::v3::substitution_format_string::Format;
use lateen_api::envoy::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat};
use lateen_api::envoy::google::protobuf::Struct;

use super::LoadError;
use super::convert::{is, unpack};
use crate::listener::{AccessLog, Comparison, LogFilter, LogFormat};
use crate::provenance::flat;

/// File access logs; other kinds are left out.
pub fn access_logs(logs: &[ProtoLog]) -> Result<Vec<Arc<AccessLog>>, LoadError> {
    logs.iter().filter_map(|log| access_log(log).transpose()).collect()
}

fn access_log(log: &ProtoLog) -> Result<Option<Arc<AccessLog>>, LoadError> {
    let Some(ConfigType::TypedConfig(any)) = &log.config_type else {
        return Ok(None);
    };
    let (path, format) = if is::<FileAccessLog>(any) {
        let file: FileAccessLog = unpack(any)?;
        (file.path, format(file.access_log_format))
    } else if any.type_url.ends_with(".StdoutAccessLog") {
        ("/dev/stdout".to_owned(), LogFormat::Default)
    } else if any.type_url.ends_with(".StderrAccessLog") {
        ("/dev/stderr".to_owned(), LogFormat::Default)
    } else {
        return Ok(None);
    };
    Ok(Some(Arc::new(AccessLog { path: path.into(), format, filter: log.filter.as_ref().map(filter) })))
}

fn format(format: Option<AccessLogFormat>) -> LogFormat {
    match format {
        None => LogFormat::Default,
        Some(AccessLogFormat::Format(text)) => text_format(text),
        Some(AccessLogFormat::JsonFormat(fields) | AccessLogFormat::TypedJsonFormat(fields)) => json(&fields),
        Some(AccessLogFormat::LogFormat(inner)) => match inner.format {
            Some(Format::TextFormat(text)) => text_format(text),
            Some(Format::JsonFormat(fields)) => json(&fields),
            _ => LogFormat::Default,
        },
    }
}

fn text_format(text: String) -> LogFormat {
    if text.is_empty() { LogFormat::Default } else { LogFormat::Text(text.into()) }
}

fn json(fields: &Struct) -> LogFormat {
    let mut keys: Vec<_> = flat(fields).into_iter().collect();
    keys.sort();
    LogFormat::Json(keys)
}

fn filter(filter: &AccessLogFilter) -> LogFilter {
    match &filter.filter_specifier {
        Some(FilterSpecifier::ResponseFlagFilter(flags)) => {
            LogFilter::Flags(flags.flags.iter().map(|flag| flag.as_str().into()).collect())
        }
        Some(FilterSpecifier::StatusCodeFilter(status)) => {
            let (op, value) = comparison(status.comparison.as_ref());
            LogFilter::Status { op, value }
        }
        Some(FilterSpecifier::DurationFilter(duration)) => {
            let (op, value) = comparison(duration.comparison.as_ref());
            LogFilter::Duration { op, value }
        }
        Some(FilterSpecifier::AndFilter(and)) => LogFilter::And(and.filters.iter().map(self::filter).collect()),
        Some(FilterSpecifier::OrFilter(or)) => LogFilter::Or(or.filters.iter().map(self::filter).collect()),
        _ => LogFilter::Unknown,
    }
}

fn comparison(filter: Option<&ComparisonFilter>) -> (Comparison, u32) {
    let op = match filter.map_or(0, |filter| filter.op) {
        1 => Comparison::AtLeast,
        2 => Comparison::AtMost,
        3 => Comparison::Different,
        _ => Comparison::Equal,
    };
    (op, filter.and_then(|filter| filter.value.as_ref()).map_or(0, |value| value.default_value))
}
