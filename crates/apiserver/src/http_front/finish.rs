//! The last touches on a response: the encoding that the client asked for.

use std::io::Write;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

/// Smaller bodies are not worth compressing, as in Kubernetes.
const MIN_COMPRESSED: u64 = 128 * 1024;

/// What the client accepts besides plain JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    yaml: bool,
    gzip: bool,
}

impl Accepted {
    /// From a request's headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let words = |name| {
            let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
            values.flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect::<Vec<_>>()
        };
        let first = words(header::ACCEPT).into_iter().next().unwrap_or_default();
        let yaml = first.split(';').next().is_some_and(|kind| kind.trim() == "application/yaml");
        let gzip = words(header::ACCEPT_ENCODING).iter().any(|w| {
            let (name, parameters) = w.split_once(';').unwrap_or((w, ""));
            name == "gzip" && parameters.replace(' ', "") != "q=0"
        });
        Self { yaml, gzip }
    }

    /// Whether there is anything to do for this response. Streams stay as they are.
    fn wants(self, response: &Response<Body>) -> (bool, bool) {
        let Some(size) = response.body().size_hint().exact() else { return (false, false) };
        let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v == "application/json");
        (self.yaml && json && size > 0, self.gzip && size >= MIN_COMPRESSED)
    }
}

/// The response in the encoding that the client prefers.
pub async fn finish(accepted: Accepted, response: Response<Body>) -> Response<Body> {
    let (yaml, gzip) = accepted.wants(&response);
    if !yaml && !gzip {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is in memory: its size is known.
    let mut bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if yaml && let Some(text) = to_yaml(&bytes) {
        bytes = text.into();
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    }
    if gzip && let Ok(smaller) = compress(&bytes) {
        bytes = smaller;
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes))
}

fn to_yaml(json: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(json).ok()?;
    serde_saphyr::to_string(&value).ok()
}

fn compress(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_front::respond;
    use http::StatusCode;
    use serde_json::json;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(v))).collect()
    }

    async fn run(pairs: &[(&'static str, &'static str)], value: &Value) -> (http::response::Parts, Bytes) {
        let accepted = Accepted::of(&headers(pairs));
        let (parts, body) = finish(accepted, respond::json(StatusCode::OK, value)).await.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn large_answers_are_compressed_for_who_accepts_it() {
        let large = json!({"text": "x".repeat(200_000)});
        let (parts, bytes) = run(&[("accept-encoding", "deflate, gzip")], &large).await;
        assert_eq!(parts.headers[header::CONTENT_ENCODING], "gzip");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
        assert_eq!(plain, large.to_string().as_bytes());
        for (encoding, value) in [("identity", &large), ("gzip;q=0", &large), ("gzip", &json!({}))] {
            let (parts, bytes) = run(&[("accept-encoding", encoding)], value).await;
            assert!(!parts.headers.contains_key(header::CONTENT_ENCODING), "{encoding}");
            assert_eq!(bytes, value.to_string().as_bytes());
        }
    }

    #[tokio::test]
    async fn yaml_is_for_who_asks_for_it_first() {
        let value = json!({"kind": "Status", "code": 200});
        let (parts, bytes) = run(&[("accept", "application/yaml")], &value).await;
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/yaml");
        let read: Value = serde_saphyr::from_str(std::str::from_utf8(&bytes).unwrap()).unwrap();
        assert_eq!(read, value);
        let (parts, _) = run(&[("accept", "application/json, application/yaml")], &value).await;
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
    }
}
