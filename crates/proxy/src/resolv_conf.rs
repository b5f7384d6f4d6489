//! The pod's DNS settings.

use std::fs;
use std::net::IpAddr;

/// What `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers, in order of preference.
    pub nameservers: Vec<IpAddr>,
    /// Domains that complete short names.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// Reads the file; without one there are no servers.
    pub fn read() -> ResolvConf {
        fs::read_to_string("/etc/resolv.conf").map(|text| ResolvConf::parse(&text)).unwrap_or_default()
    }

    /// Understands `nameserver`, `search` and `domain`; the last `search` or `domain` line counts.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().map(|w| w.split('%').next().unwrap_or(w));
                    conf.nameservers.extend(address.and_then(|a| a.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => {
                    conf.search = words.map(|w| w.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                _ => {}
            }
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::ResolvConf;

    #[test]
    fn reads_servers_and_search_domains() {
        let text = "# comment\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver junk\n\
                    domain old\nsearch ns1.svc.cluster.local SVC.cluster.local.\noptions ndots:5\n";
        let conf = ResolvConf::parse(text);
        assert_eq!(conf.nameservers, ["10.96.0.10".parse::<std::net::IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!(conf.search, ["ns1.svc.cluster.local", "svc.cluster.local"]);
    }
}
