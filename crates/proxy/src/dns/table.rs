//! The names that the mesh knows.

use std::collections::HashMap;
use std::net::IpAddr;

use lateen_api::nds::NameTable;

/// Where a Kubernetes name comes from.
const KUBERNETES: &str = "Kubernetes";

/// Addresses by name. Names are lower-case, without the final dot.
#[derive(Debug, Default)]
pub struct LookupTable {
    hosts: HashMap<String, Vec<IpAddr>>,
    /// By what follows the `*.`.
    wildcards: HashMap<String, Vec<IpAddr>>,
    /// The domain that a resolver tries first for a name it doesn't know.
    first_search: Option<String>,
}

/// What the table says about a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name is known; these are all its addresses.
    Addresses(&'a [IpAddr]),
    /// A known name that a resolver has lengthened by a search domain: nothing is there.
    Nothing,
    /// The mesh doesn't know it.
    Unknown,
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl LookupTable {
    /// Builds the table for a proxy in `domain` (`<namespace>.svc.<cluster domain>`).
    pub fn new(table: &NameTable, namespace: &str, domain: &str, search: &[String]) -> LookupTable {
        let mut built = LookupTable { first_search: search.first().map(|s| normal(s)), ..LookupTable::default() };
        let service_domain = domain.strip_prefix(namespace).map_or(domain, |rest| rest.trim_start_matches('.'));
        for (host, info) in &table.table {
            let addresses: Vec<IpAddr> = info.ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            let names = std::iter::once(host).chain(&info.alt_hosts).map(|name| normal(name));
            for name in names {
                match name.strip_prefix("*.") {
                    Some(rest) => built.wildcards.insert(rest.to_owned(), addresses.clone()),
                    None => built.hosts.insert(name, addresses.clone()),
                };
            }
            let ours = normal(host) == normal(&format!("{}.{}.{service_domain}", info.shortname, info.namespace));
            if info.registry == KUBERNETES && ours {
                for short in short_names(&info.shortname, &info.namespace, namespace) {
                    built.hosts.entry(normal(&short)).or_insert_with(|| addresses.clone());
                }
            }
        }
        built
    }

    /// Looks a name up: itself, then the most specific wildcard.
    pub fn find(&self, name: &str) -> Found<'_> {
        let name = normal(name);
        if let Some(addresses) = self.hosts.get(&name) {
            return Found::Addresses(addresses);
        }
        if self.is_lengthened(&name) {
            return Found::Nothing;
        }
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(addresses) = self.wildcards.get(parent) {
                return Found::Addresses(addresses);
            }
            rest = parent;
        }
        Found::Unknown
    }

    fn is_lengthened(&self, name: &str) -> bool {
        let Some(search) = &self.first_search else { return false };
        let known = name.strip_suffix(search.as_str()).and_then(|rest| rest.strip_suffix('.'));
        known.is_some_and(|known| self.hosts.contains_key(known))
    }

    /// All names, wildcards included.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.hosts.keys().cloned().chain(self.wildcards.keys().map(|rest| format!("*.{rest}")))
    }
}

/// `svc` (in its own namespace), `svc.ns`, `svc.ns.svc`
fn short_names(name: &str, namespace: &str, own_namespace: &str) -> Vec<String> {
    let mut names = vec![format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")];
    if namespace == own_namespace {
        names.push(name.to_owned());
    }
    names
}
