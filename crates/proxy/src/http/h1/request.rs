//! A request's head as HTTP/1 brought it.

use std::borrow::Cow;

use lateen_proxy_core::RequestHead;
use lateen_proxy_core::head::join;

use super::parse::{HeadError, Parts, Span};
use crate::buffer::HeadBuf;
use crate::http::head::Headers;

/// A request's head, in the bytes it came in.
pub struct H1Request {
    bytes: HeadBuf,
    /// Where its parts are.
    pub parts: Parts,
    scheme: &'static str,
    authority: Text,
    path: Text,
}

/// A part of the head, or what replaces it.
enum Text {
    At(Span),
    New(Box<str>),
}

impl H1Request {
    /// Takes the head; the target may be a path, `*`, a whole URL, or an authority for CONNECT.
    pub fn new(bytes: HeadBuf, parts: Parts, scheme: &'static str, default_host: &str) -> Result<Self, HeadError> {
        let target = text(&bytes, parts.target);
        let host = || match parts.host {
            Some(span) => Ok(Text::At(span)),
            None if parts.http10 && !default_host.is_empty() => Ok(Text::New(default_host.into())),
            None => Err(HeadError::Malformed("no host header")),
        };
        let (authority, path) = if text(&bytes, parts.word) == "CONNECT" {
            (Text::At(parts.target), Text::New("".into()))
        } else if target.starts_with('/') || target == "*" {
            (host()?, Text::At(parts.target))
        } else {
            let (authority, path) = absolute(target)?;
            (Text::New(authority.into()), Text::New(path.into()))
        };
        let request = Self { bytes, parts, scheme, authority, path };
        if !valid_authority(request.authority()) {
            return Err(HeadError::Malformed("host header"));
        }
        Ok(request)
    }

    fn text<'s>(&'s self, part: &'s Text) -> &'s str {
        match part {
            Text::At(span) => text(&self.bytes, *span),
            Text::New(text) => text,
        }
    }

    /// Length of the head.
    pub fn head_len(&self) -> usize {
        self.bytes.len()
    }

    /// Replaces the path.
    pub fn set_path(&mut self, path: &str) {
        self.path = Text::New(path.into());
    }

    /// Replaces the authority.
    pub fn set_authority(&mut self, authority: &str) {
        self.authority = Text::New(authority.into());
    }

    /// Whether some header has an underscore in its name.
    pub fn has_underscore(&self) -> bool {
        self.parts.headers.iter().any(|(name, _)| self.bytes[name.range()].contains(&b'_'))
    }

    /// The protocol that the client wants to change to. An offer of h2c is passed over, as in Envoy: clients of HTTP/2
    /// make it with a request that they want served either way.
    pub fn upgrade(&self) -> Option<&str> {
        let protocol = self.parts.upgrade.map(|span| text(&self.bytes, span));
        protocol.filter(|protocol| !protocol.eq_ignore_ascii_case("h2c"))
    }

    fn nominated(&self, name: &[u8]) -> bool {
        self.parts.nominated.iter().any(|span| self.bytes[span.range()].eq_ignore_ascii_case(name))
    }
}

fn text(bytes: &[u8], span: Span) -> &str {
    std::str::from_utf8(&bytes[span.range()]).unwrap_or_default()
}

fn absolute(target: &str) -> Result<(&str, &str), HeadError> {
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::Malformed("request target"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadError::Malformed("request target"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') || path.starts_with('?') {
        return Err(HeadError::Malformed("request target"));
    }
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

/// Whether a host header can be passed on: nothing in it may end the line it is written into or look like another part
/// of a URL.
pub fn valid_authority(authority: &str) -> bool {
    authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}

impl RequestHead for H1Request {
    fn method(&self) -> &str {
        text(&self.bytes, self.parts.word)
    }

    fn path(&self) -> &str {
        self.text(&self.path)
    }

    fn authority(&self) -> &str {
        self.text(&self.authority)
    }

    fn scheme(&self) -> &str {
        self.scheme
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let named = self.parts.headers.iter().filter(|(n, _)| self.bytes[n.range()] == *name.as_bytes());
        join(named.map(|(_, value)| &self.bytes[value.range()]))
    }
}

impl Headers for H1Request {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.parts.headers {
            let name = &self.bytes[name.range()];
            // The host is written from the authority; expectations are met here.
            if name == b"host" || name == b"expect" || (!self.parts.nominated.is_empty() && self.nominated(name)) {
                continue;
            }
            if let Ok(name) = std::str::from_utf8(name) {
                f(name, &self.bytes[value.range()]);
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.parts.headers.iter().any(|(n, _)| self.bytes[n.range()] == *name.as_bytes())
    }
}
