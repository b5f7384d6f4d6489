//! Hosts of a server: `host`, `namespace/host`, `./host`, `*/host`.

use lateen_mesh::Hostname;

/// A host of a server, and whose VirtualServices may use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerHost {
    /// Namespace of those VirtualServices; `None` for all.
    pub namespace: Option<String>,
    /// The host.
    pub host: Hostname,
}

impl ServerHost {
    /// Reads a host of a Gateway in `owner`.
    pub fn parse(text: &str, owner: &str) -> Self {
        let Some((namespace, host)) = text.split_once('/') else {
            return Self { namespace: None, host: Hostname::new(text) };
        };
        let namespace = match namespace {
            "*" => None,
            "." => Some(owner.to_owned()),
            other => Some(other.to_owned()),
        };
        Self { namespace, host: Hostname::new(host) }
    }

    fn is_for(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// The hosts that both sides have: of each pair that overlaps the narrower one.
pub fn shared(server: &[ServerHost], wanted: &[Hostname], namespace: &str) -> Vec<Hostname> {
    let mut all: Vec<Hostname> = Vec::new();
    for own in server.iter().filter(|own| own.is_for(namespace)) {
        for host in wanted {
            let narrower = if own.host.covers(host) {
                host
            } else if host.covers(&own.host) {
                &own.host
            } else {
                continue;
            };
            if !all.contains(narrower) {
                all.push(narrower.clone());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(server: &[&str], wanted: &[&str], expected: &[&str]) {
        let server: Vec<ServerHost> = server.iter().map(|h| ServerHost::parse(h, "edge")).collect();
        let wanted: Vec<Hostname> = wanted.iter().map(|h| Hostname::new(h)).collect();
        let found = shared(&server, &wanted, "shop");
        let found: Vec<&str> = found.iter().map(Hostname::as_str).collect();
        assert_eq!(found, expected, "{server:?} {wanted:?}");
    }

    #[test]
    fn the_narrower_of_two_hosts_counts_in_the_namespaces_it_is_for() {
        check(&["*.example.com"], &["a.example.com", "b.org"], &["a.example.com"]);
        check(&["a.example.com", "b.example.com"], &["*.example.com"], &["a.example.com", "b.example.com"]);
        check(&["shop/*"], &["a.com"], &["a.com"]);
        check(&["./*", "bank/a.com"], &["a.com"], &[]);
        check(&["*/a.com"], &["*"], &["a.com"]);
    }
}
