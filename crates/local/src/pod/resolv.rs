//! Where a pod asks for names: `/etc/resolv.conf` by its `dnsPolicy` and `dnsConfig`.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;

use super::etc::DOMAIN;
use crate::network::DNS_IP;

/// Name servers and search domains that clients look at, as in Kubernetes.
const SERVERS: usize = 3;
const SEARCHES: usize = 32;

#[derive(Debug, Default)]
struct Conf {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// The file of a pod. `host` is the host's own.
pub(super) fn conf(spec: &PodSpec, namespace: &str, host: &str) -> String {
    let on_host = spec.host_network == Some(true);
    let mut conf = match spec.dns_policy.as_deref() {
        Some("None") => Conf::default(),
        Some("Default") => Conf::of_host(host),
        Some("ClusterFirstWithHostNet") => Conf::of_cluster(namespace),
        // ClusterFirst means the host's where the pod has the host's network.
        _ if on_host => Conf::of_host(host),
        _ => Conf::of_cluster(namespace),
    };
    conf.add(spec);
    conf.render()
}

impl Conf {
    fn of_cluster(namespace: &str) -> Self {
        Self {
            servers: vec![DNS_IP.to_string()],
            searches: vec![format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()],
            options: vec![("ndots".to_owned(), Some("5".to_owned()))],
        }
    }

    fn of_host(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(server_of_host)),
                Some("search" | "domain") => conf.searches = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(DNS_IP.to_string());
        }
        conf
    }

    /// The pod's own wishes: its servers and domains come last, its options win.
    fn add(&mut self, spec: &PodSpec) {
        let Some(own) = &spec.dns_config else { return };
        self.servers.extend(own.nameservers.iter().flatten().cloned());
        self.searches.extend(own.searches.iter().flatten().cloned());
        for wanted in own.options.iter().flatten() {
            let Some(name) = &wanted.name else { continue };
            self.options.retain(|(known, _)| known != name);
            self.options.push((name.clone(), wanted.value.clone()));
        }
    }

    fn render(mut self) -> String {
        let mut text = String::new();
        dedup(&mut self.servers);
        dedup(&mut self.searches);
        self.searches.truncate(SEARCHES);
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in self.servers.iter().take(SERVERS) {
            text.push_str(&format!("nameserver {server}\n"));
        }
        let shown = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        };
        let options: Vec<String> = self.options.iter().map(shown).collect();
        if !options.is_empty() {
            text.push_str(&format!("options {}\n", options.join(" ")));
        }
        text
    }
}

/// The host's own name server is on no address that a pod reaches; the cluster's passes questions
/// on to it.
fn server_of_host(server: &str) -> String {
    let unreachable = server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_ipv6());
    if unreachable { DNS_IP.to_string() } else { server.to_owned() }
}

fn option(word: &str) -> (String, Option<String>) {
    match word.split_once(':') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HOST: &str = "# of the host\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.org\n\
        options edns0 trust-ad\n";

    fn of(mut spec: Value) -> String {
        spec["containers"] = json!([]);
        conf(&serde_json::from_value(spec).unwrap(), "shop", HOST)
    }

    #[test]
    fn names_are_searched_in_the_pods_own_namespace_first() {
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
            nameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(of(json!({})), cluster);
        assert_eq!(of(json!({"dnsPolicy": "ClusterFirst"})), cluster);
        assert_eq!(of(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})), cluster);
    }

    #[test]
    fn a_pod_may_ask_where_the_host_asks() {
        let host = "search example.org\nnameserver 10.96.0.10\nnameserver 192.0.2.53\noptions edns0 trust-ad\n";
        assert_eq!(of(json!({"dnsPolicy": "Default"})), host);
        assert_eq!(of(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})), host);
    }

    #[test]
    fn a_pod_may_bring_its_own_dns() {
        let config = json!({"nameservers": ["192.0.2.1"], "searches": ["svc.cluster.local", "example.com"],
            "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]});
        assert_eq!(
            of(json!({"dnsPolicy": "None", "dnsConfig": config})),
            "search svc.cluster.local example.com\nnameserver 192.0.2.1\noptions ndots:1 edns0\n"
        );
        assert_eq!(
            of(json!({"dnsConfig": config})),
            "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:1 edns0\n"
        );
    }
}
