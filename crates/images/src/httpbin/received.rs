//! A request, as the endpoints look at it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, request::Parts};
use serde_json::{Map, Value, json};

use super::Flavor;
use crate::http_text::{capitals, pairs};

/// A request that has arrived completely.
pub(super) struct Received {
    pub flavor: Flavor,
    pub body: Bytes,
    parts: Parts,
    peer: SocketAddr,
}

impl Received {
    pub fn new(flavor: Flavor, parts: Parts, body: Bytes, peer: SocketAddr) -> Self {
        Received { flavor, body, parts, peer }
    }

    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The host that the client asked for.
    pub fn host(&self) -> &str {
        self.parts
            .uri
            .authority()
            .map_or_else(|| self.header("host").unwrap_or_default(), |authority| authority.as_str())
    }

    /// The client's address: as a proxy reports it, else the connection's.
    pub fn origin(&self) -> String {
        self.header("x-forwarded-for").map_or_else(|| self.peer.ip().to_string(), str::to_owned)
    }

    /// The URL that the client asked for.
    pub fn url(&self) -> String {
        let scheme = self.header("x-forwarded-proto").unwrap_or("http");
        let path = self.parts.uri.path_and_query().map_or("/", |path| path.as_str());
        format!("{scheme}://{}{path}", self.host())
    }

    /// The parameters of the query, decoded, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        pairs(self.parts.uri.query().unwrap_or_default())
    }

    /// The last parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A parameter as a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.parameter(name)?.parse().ok()
    }

    /// The headers as JSON, names in their usual capitals, sorted.
    pub fn headers_json(&self) -> Value {
        let mut headers: Vec<(String, String)> = self
            .parts
            .headers
            .iter()
            .map(|(name, value)| (capitals(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        if self.parts.headers.get("host").is_none() {
            headers.push(("Host".into(), self.host().to_owned()));
        }
        self.grouped(headers)
    }

    /// The query as JSON.
    pub fn args_json(&self) -> Value {
        self.grouped(self.query())
    }

    /// Pairs as a JSON object, repeated names as each flavour shows them.
    pub fn grouped(&self, pairs: Vec<(String, String)>) -> Value {
        let mut map: Map<String, Value> = Map::new();
        for (name, value) in pairs {
            let slot = map.entry(name).or_insert_with(|| json!([]));
            if let Some(values) = slot.as_array_mut() {
                values.push(Value::String(value));
            }
        }
        if self.flavor == Flavor::Python {
            for value in map.values_mut() {
                if value.as_array().is_some_and(|values| values.len() == 1) {
                    *value = value[0].take();
                }
            }
        }
        map.sort_keys();
        Value::Object(map)
    }

    /// The cookies that the client sent.
    pub fn cookies(&self) -> Vec<(String, String)> {
        let all = self.parts.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}
