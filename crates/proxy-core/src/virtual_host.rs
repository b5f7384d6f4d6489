//! Virtual hosts: which routes belong to a host name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::head::RequestHead;
use crate::header_ops::BothOps;
use crate::provenance::Provenance;
use crate::route::{Route, split_port};

/// The routes of some host names.
#[derive(Debug, Clone)]
pub struct VirtualHost {
    /// Its name.
    pub name: Arc<str>,
    /// Routes, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Changes of headers.
    pub ops: BothOps,
    /// Write `x-envoy-attempt-count` into requests.
    pub attempt_count_in_request: bool,
    /// Write `x-envoy-attempt-count` into responses.
    pub attempt_count_in_response: bool,
    /// Send plain requests to https.
    pub require_tls: bool,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A route table: virtual hosts by host name.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// Its name.
    pub name: Arc<str>,
    /// All of them.
    pub hosts: Vec<Arc<VirtualHost>>,
    /// Changes of headers.
    pub ops: BothOps,
    /// Changes of the route win over those of the virtual host and the table.
    pub most_specific_wins: bool,
    /// Look at host names without their ports.
    pub ignore_port: bool,
    domains: Domains,
}

#[derive(Debug, Clone, Default)]
struct Domains {
    exact: HashMap<Box<str>, u32>,
    /// `*.example.com` by `.example.com`, by length, longest first.
    suffix: Vec<(usize, HashMap<Box<str>, u32>)>,
    /// `example.*` by `example.`, by length, longest first.
    prefix: Vec<(usize, HashMap<Box<str>, u32>)>,
    any: Option<u32>,
}

/// Two virtual hosts claim the same domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("domain {domain:?} is claimed by virtual host {second:?} and an earlier one: a domain may occur only once")]
pub struct DuplicateDomain {
    domain: String,
    second: String,
}

impl RouteTable {
    /// Builds the table; `hosts` come with their domains.
    pub fn new(name: Arc<str>, hosts: Vec<(Arc<VirtualHost>, Vec<String>)>) -> Result<Self, DuplicateDomain> {
        let mut table = Self { name, ..Self::default() };
        for (index, (host, domains)) in hosts.into_iter().enumerate() {
            for domain in domains {
                let domain = domain.to_ascii_lowercase();
                if !table.domains.add(&domain, index as u32) {
                    return Err(DuplicateDomain { domain, second: host.name.to_string() });
                }
            }
            table.hosts.push(host);
        }
        table.domains.suffix.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        table.domains.prefix.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        Ok(table)
    }

    /// The virtual host of an authority: exact names first, then the longest suffix, the longest prefix, and `*`.
    pub fn host(&self, authority: &str) -> Option<&Arc<VirtualHost>> {
        let authority = if self.ignore_port { split_port(authority).0 } else { authority };
        let index = if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.domains.find(&authority.to_ascii_lowercase())
        } else {
            self.domains.find(authority)
        };
        self.hosts.get(index? as usize)
    }

    /// The route of a request.
    pub fn route<'t>(&'t self, head: &(impl RequestHead + ?Sized), random: u64) -> RouteResult<'t> {
        let Some(host) = self.host(head.authority()) else {
            return RouteResult::NoHost;
        };
        match host.routes.iter().find(|route| route.matcher.matches(head, random)) {
            Some(route) => RouteResult::Found { host, route },
            None => RouteResult::NoRoute { host },
        }
    }
}

/// What the route table says about a request.
#[derive(Debug, Clone, Copy)]
pub enum RouteResult<'t> {
    /// No virtual host has its host name.
    NoHost,
    /// No route of its virtual host matches.
    NoRoute {
        /// The virtual host.
        host: &'t Arc<VirtualHost>,
    },
    /// This route.
    Found {
        /// The virtual host.
        host: &'t Arc<VirtualHost>,
        /// The route.
        route: &'t Arc<Route>,
    },
}

impl Domains {
    fn add(&mut self, domain: &str, index: u32) -> bool {
        if domain == "*" {
            return self.any.replace(index).is_none();
        }
        let map = match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(suffix), _) => {
                return insert(by_length(&mut self.suffix, suffix.len()), suffix, index);
            }
            (_, Some(prefix)) => {
                return insert(by_length(&mut self.prefix, prefix.len()), prefix, index);
            }
            _ => &mut self.exact,
        };
        insert(map, domain, index)
    }

    fn find(&self, authority: &str) -> Option<u32> {
        if let Some(index) = self.exact.get(authority) {
            return Some(*index);
        }
        let bytes = authority.len();
        for (len, map) in self.suffix.iter().filter(|(len, _)| *len < bytes) {
            if let Some(index) = authority.get(bytes - len..).and_then(|suffix| map.get(suffix)) {
                return Some(*index);
            }
        }
        for (len, map) in self.prefix.iter().filter(|(len, _)| *len < bytes) {
            if let Some(index) = authority.get(..*len).and_then(|prefix| map.get(prefix)) {
                return Some(*index);
            }
        }
        self.any
    }
}

fn insert(map: &mut HashMap<Box<str>, u32>, key: &str, index: u32) -> bool {
    map.insert(key.into(), index).is_none()
}

fn by_length(maps: &mut Vec<(usize, HashMap<Box<str>, u32>)>, len: usize) -> &mut HashMap<Box<str>, u32> {
    let at = maps.iter().position(|(l, _)| *l == len).unwrap_or_else(|| {
        maps.push((len, HashMap::new()));
        maps.len() - 1
    });
    &mut maps[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(hosts: &[(&str, &[&str])]) -> RouteTable {
        let hosts = hosts
            .iter()
            .map(|(name, domains)| {
                let host = VirtualHost {
                    name: (*name).into(),
                    routes: Vec::new(),
                    ops: BothOps::default(),
                    attempt_count_in_request: false,
                    attempt_count_in_response: false,
                    require_tls: false,
                    provenance: None,
                };
                (Arc::new(host), domains.iter().map(|d| d.to_string()).collect())
            })
            .collect();
        RouteTable::new("80".into(), hosts).expect("no duplicates")
    }

    #[test]
    fn the_most_specific_domain_wins() {
        let table = table(&[
            ("any", &["*"]),
            ("backend", &["backend", "backend:80", "backend.default.svc.cluster.local", "10.96.0.4"]),
            ("wild", &["*.example.com"]),
            ("deep", &["*.a.example.com"]),
            ("prefix", &["api.*"]),
        ]);
        for (authority, expect) in [
            ("backend", "backend"),
            ("BACKEND:80", "backend"),
            ("backend:81", "any"),
            ("x.example.com", "wild"),
            ("x.a.example.com", "deep"),
            (".example.com", "any"),
            ("api.org", "prefix"),
            ("api.example.com", "wild"),
            ("", "any"),
        ] {
            assert_eq!(&*table.host(authority).expect("some host").name, expect, "{authority}");
        }
    }

    #[test]
    fn ports_can_be_ignored() {
        let mut table = table(&[("v6", &["[::1]"]), ("backend", &["backend"])]);
        assert!(table.host("backend:8080").is_none());
        table.ignore_port = true;
        assert_eq!(&*table.host("backend:8080").expect("found").name, "backend");
        assert_eq!(&*table.host("[::1]:80").expect("found").name, "v6");
    }
}
