//! Telling HTTP from other bytes.

/// What HTTP/2 connections begin with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest method of a request.
const MAX_METHOD: usize = 24;
/// Longest request line looked at; longer ones count as HTTP.
const MAX_LINE: usize = 8 << 10;

/// The HTTP version; `Some(None)` is no HTTP, `None` not enough bytes.
pub fn detect(bytes: &[u8]) -> Option<Option<&'static str>> {
    if bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) {
        return None;
    }
    if bytes.starts_with(PREFACE) {
        return Some(Some("h2c"));
    }
    let Some(space) = bytes.iter().take(MAX_METHOD + 1).position(|byte| *byte == b' ') else {
        let token = bytes.len() <= MAX_METHOD && bytes.iter().all(u8::is_ascii_uppercase);
        return if token { None } else { Some(None) };
    };
    if space == 0 || !bytes[..space].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-') {
        return Some(None);
    }
    let line = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => &bytes[..end],
        None if bytes.len() > MAX_LINE => return Some(Some("http/1.1")),
        None => return None,
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some(if line.ends_with(b" HTTP/1.1") {
        Some("http/1.1")
    } else if line.ends_with(b" HTTP/1.0") {
        Some("http/1.0")
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told() {
        for (bytes, expect) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(Some("http/1.1"))),
            (b"PROPFIND /x HTTP/1.0\n", Some(Some("http/1.0"))),
            (PREFACE, Some(Some("h2c"))),
            (b"PRI * HT", None),
            (b"GET /", None),
            (b"GE", None),
            (b"", None),
            (b"\x00\x00\x00\x10", Some(None)),
            (b"SSH-2.0-OpenSSH", Some(None)),
            (b"HELO mail\r\n", Some(None)),
            (b"AVERYLONGWORDWITHOUTANYSPACE", Some(None)),
        ] {
            assert_eq!(detect(bytes), expect, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
