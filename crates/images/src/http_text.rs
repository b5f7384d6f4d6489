//! HTTP's ways with text: queries, percent-encoding, and what Go's programs show of headers, versions and hosts.

use std::borrow::Cow;

/// `name=value` pairs of a query or form, decoded.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name).into_owned(), decode(value).into_owned())
        })
        .collect()
}

/// Percent-decoding, with `+` as space.
fn decode(text: &str) -> Cow<'_, str> {
    match text.contains(['%', '+']) {
        true => Cow::Owned(percent_decoded(&text.replace('+', " "))),
        false => Cow::Borrowed(text),
    }
}

/// Percent-decoding; what is no escape stays.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.get(..2).and_then(hex)).flatten();
        bytes.push(escape.unwrap_or(first));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `x-request-id` as `X-Request-Id`.
pub(crate) fn capitals(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|letter| {
            let shown = if start { letter.to_ascii_uppercase() } else { letter };
            start = letter == '-';
            shown
        })
        .collect()
}

/// A version as Go writes it.
pub(crate) fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// The host that a request is for: its target's, else the `Host` header's.
pub(crate) fn host<'a>(target: &'a http::Uri, headers: &'a http::HeaderMap) -> &'a str {
    let header = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    target.authority().map(|authority| authority.as_str()).or(header).unwrap_or_default()
}
