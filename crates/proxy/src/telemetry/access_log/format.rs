//! The form of a line.

use lateen_proxy_core::format::{Part, parts};
use lateen_proxy_core::listener::LogFormat;

use super::operator::Operator;
use crate::record::Record;

/// Istio's default.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% \
%ROUTE_NAME%\n";

/// A form made ready.
#[derive(Debug)]
pub(super) enum LineFormat {
    Text(Template),
    Json(Vec<(String, Template)>),
}

/// Text with operators.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Operator(Operator),
}

impl LineFormat {
    pub(super) fn compile(format: &LogFormat) -> LineFormat {
        match format {
            LogFormat::Default => LineFormat::Text(Template::compile(DEFAULT)),
            LogFormat::Text(text) => LineFormat::Text(Template::compile(text)),
            LogFormat::Json(fields) => {
                let fields = fields.iter().map(|(key, text)| (json_string(key), Template::compile(text)));
                LineFormat::Json(fields.collect())
            }
        }
    }

    /// Appends a line.
    pub(super) fn write(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            LineFormat::Text(template) => {
                let start = out.len();
                template.write(record, out);
                keep_one_line(out, start);
            }
            LineFormat::Json(fields) => write_json(fields, record, out),
        }
    }
}

/// What a client sends must not start a line of its own.
fn keep_one_line(out: &mut [u8], start: usize) {
    let end = out.len().saturating_sub(1);
    for byte in out.get_mut(start..end).into_iter().flatten().filter(|b| matches!(**b, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

impl Template {
    /// A single percent sign that begins no operator stands for itself.
    pub(super) fn compile(text: &str) -> Template {
        let pieces = parts(text).map(|part| match part {
            Part::Text(text) => Piece::Text(text.into()),
            Part::StrayPercent => Piece::Text("%".into()),
            Part::Operator(operator) => Piece::Operator(Operator::new(&operator)),
        });
        Template(pieces.collect())
    }

    fn write(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator) => {
                    if !operator.write(record, out) {
                        out.push(b'-');
                    }
                }
            }
        }
    }

    /// The only operator, when there is nothing else.
    fn single(&self) -> Option<&Operator> {
        match self.0.as_slice() {
            [Piece::Operator(operator)] => Some(operator),
            _ => None,
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Numbers stay numbers, what is missing is null.
fn write_json(fields: &[(String, Template)], record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut value = Vec::new();
    for (i, (key, template)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b':');
        value.clear();
        match template.single() {
            Some(operator) => {
                if !operator.write(record, &mut value) {
                    out.extend_from_slice(b"null");
                } else if operator.is_number() && operator.limit.is_none() {
                    out.extend_from_slice(&value);
                } else {
                    out.extend_from_slice(json_string(&String::from_utf8_lossy(&value)).as_bytes());
                }
            }
            None => {
                template.write(record, &mut value);
                out.extend_from_slice(json_string(&String::from_utf8_lossy(&value)).as_bytes());
            }
        }
    }
    out.extend_from_slice(b"}\n");
}
