//! Heads of requests and responses, whatever version brought them.

use std::borrow::Cow;

use http::HeaderMap;
use lateen_proxy_core::RequestHead;
use lateen_proxy_core::head::join;

use crate::record::ResponseHead;

/// Headers to copy from one side to the other.
pub trait Headers {
    /// Calls `f` with every header; names are lower case.
    fn each(&self, f: &mut dyn FnMut(&str, &[u8]));

    /// Whether `name` is there.
    fn has(&self, name: &str) -> bool {
        let mut found = false;
        self.each(&mut |n, _| found |= n == name);
        found
    }

    /// The same headers as a map, where they are in one: names and values that are shared needn't be read and copied again.
    fn as_map(&self) -> Option<&HeaderMap> {
        None
    }
}

/// A request's head.
pub trait Request: RequestHead + Headers {}
impl<T: RequestHead + Headers> Request for T {}

/// A response's head.
pub trait Response: ResponseHead + Headers {}
impl<T: ResponseHead + Headers> Response for T {}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    None,
    /// So many bytes.
    Known(u64),
    /// Told by its end.
    Unknown,
}

/// Whether a header belongs to one connection and is never passed on. Framing headers are written anew.
pub fn is_hop(name: &str) -> bool {
    match name.len() {
        7 => name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "content-length",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        _ => false,
    }
}

impl Headers for HeaderMap {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self {
            f(name.as_str(), value.as_bytes());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn as_map(&self) -> Option<&HeaderMap> {
        Some(self)
    }
}

impl ResponseHead for HeaderMap {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(|value| value.as_bytes())
    }
}

/// No headers at all.
pub struct Nothing;

impl Headers for Nothing {
    fn each(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

/// A request's head that was made here.
pub struct Written {
    /// Method.
    pub method: Box<str>,
    /// Path with query.
    pub path: Box<str>,
    /// Authority.
    pub authority: Box<str>,
    /// Scheme.
    pub scheme: &'static str,
    /// Headers, names in lower case.
    pub headers: Vec<(Box<str>, Box<[u8]>)>,
}

impl RequestHead for Written {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn scheme(&self) -> &str {
        self.scheme
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        join(self.headers.iter().filter(|(n, _)| **n == *name).map(|(_, value)| &**value))
    }
}

impl Headers for Written {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.headers {
            f(name, value);
        }
    }
}
