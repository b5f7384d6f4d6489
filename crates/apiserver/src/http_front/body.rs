//! Request bodies.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::{protobuf, schema::parse_json, status::Status};

const MAX_BODY: usize = 3 << 20;

/// Reads a whole body, within limits.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {MAX_BODY}")))
        }
        Err(error) => Err(Status::bad_request(format!("cannot read the body: {error}"))),
    }
}

/// The content type of a request, without parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

/// Parses JSON or YAML; also names the fields that occur twice.
pub fn parse(bytes: &[u8], media_type: &str) -> Result<(Value, Vec<String>), Status> {
    let invalid = |e: &dyn std::fmt::Display| Status::bad_request(format!("error decoding the request body: {e}"));
    match media_type {
        ""
        | "application/json"
        | "application/json-patch+json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => parse_json(bytes).map_err(|e| invalid(&e)),
        "application/yaml" | "application/apply-patch+yaml" => match parse_json(bytes) {
            Ok(parsed) => Ok(parsed),
            Err(_) => {
                let text = std::str::from_utf8(bytes).map_err(|e| invalid(&e))?;
                let value = serde_saphyr::from_str(text).map_err(|e| invalid(&e))?;
                Ok((value, Vec::new()))
            }
        },
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(bytes).map_err(|e| invalid(&e))?;
            Ok((value, Vec::new()))
        }
        other => Err(Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf (got {other:?})"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_and_costs_little() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
        let bomb = (0..40).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let alias = format!("*a{n}");
            text + &format!("a{}: &a{} [{}]\n", n + 1, n + 1, [alias.as_str(); 8].join(","))
        });
        for (text, kind) in [
            ("{\"a\": ".to_owned(), "application/json"),
            ("{\"a\": 1} {}".to_owned(), "application/json"),
            ("a: [b".to_owned(), "application/yaml"),
            ("a: b\n- c".to_owned(), "application/yaml"),
            (deep("[", "]"), "application/json"),
            (deep("{\"a\":", "}"), "application/json"),
            (deep("[", "]"), "application/yaml"),
            (bomb, "application/apply-patch+yaml"),
            ("k8s\0\u{1}".to_owned(), "application/vnd.kubernetes.protobuf"),
        ] {
            let status = parse(text.as_bytes(), kind).expect_err(kind);
            assert_eq!(status.code, 400, "{kind}: {}", status.message);
            assert!(status.message.len() < 1000, "{kind}: {} bytes", status.message.len());
        }
        assert_eq!(parse(b"a", "text/plain").unwrap_err().code, 415);
    }
}
