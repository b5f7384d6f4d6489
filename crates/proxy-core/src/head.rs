//! What a decision may see of a request.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The head of a request, however it is held: the HTTP/1 path implements it on borrowed slices, the HTTP/2 path on its
/// header map.
pub trait RequestHead {
    /// Method, as sent.
    fn method(&self) -> &str;
    /// Path with query, as sent (empty for CONNECT).
    fn path(&self) -> &str;
    /// Host and port the client asked for.
    fn authority(&self) -> &str;
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// Value of the header `name` (lower case); several values are joined by commas.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// As [`RequestHead::header`], knowing the pseudo-headers too.
    fn lookup(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            ":method" => Some(Cow::Borrowed(self.method().as_bytes())),
            ":path" => Some(Cow::Borrowed(self.path().as_bytes())),
            ":authority" | "host" => Some(Cow::Borrowed(self.authority().as_bytes())),
            ":scheme" => Some(Cow::Borrowed(self.scheme().as_bytes())),
            _ => self.header(name),
        }
    }

    /// What good tokens say, under the keys of those who looked at them.
    fn claims(&self) -> Option<&Map<String, Value>> {
        None
    }

    /// Path without query and fragment.
    fn path_only(&self) -> &str {
        let path = self.path();
        path.find(['?', '#']).map_or(path, |end| &path[..end])
    }

    /// Query without the question mark, when there is one.
    fn query(&self) -> Option<&str> {
        let path = self.path();
        let path = path.find('#').map_or(path, |end| &path[..end]);
        path.find('?').map(|start| &path[start + 1..])
    }

    /// Whether the body is gRPC.
    fn is_grpc(&self) -> bool {
        self.header("content-type").is_some_and(|value| is_grpc_content_type(&value))
    }
}

/// Whether a content type is gRPC's (`application/grpc`, also with a suffix or parameters).
pub fn is_grpc_content_type(value: &[u8]) -> bool {
    value.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A request head made of plain strings: for tests, explanations and simulations.
#[derive(Debug, Clone, Default)]
pub struct SimpleHead {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Authority.
    pub authority: String,
    /// Scheme; empty means `http`.
    pub scheme: String,
    /// Headers with lower-case names.
    pub headers: Vec<(String, String)>,
    /// What good tokens say.
    pub claims: Option<Map<String, Value>>,
}

impl SimpleHead {
    /// A GET of `path` at `authority`.
    pub fn get(authority: &str, path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), authority: authority.into(), ..Self::default() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }
}

impl RequestHead for SimpleHead {
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
        if self.scheme.is_empty() { "http" } else { &self.scheme }
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        join(self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_bytes()))
    }
    fn claims(&self) -> Option<&Map<String, Value>> {
        self.claims.as_ref()
    }
}

/// Joins the values of one header as RFC 9110 does; no allocation for zero or one value.
pub fn join<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, [u8]>> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(Cow::Borrowed(first));
    };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Some(Cow::Owned(all))
}
