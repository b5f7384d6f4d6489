//! The files of `/etc` that say who a pod is and where it finds others.

use k8s_openapi::api::core::v1::PodSpec;

use crate::network::DNS_IP;

const DOMAIN: &str = "cluster.local";

/// All files for one container.
pub(crate) fn files(
    spec: &PodSpec,
    namespace: &str,
    hostname: &str,
    ip: &str,
    (uid, gid): (u32, u32),
) -> Vec<(String, String)> {
    [
        ("hostname", format!("{hostname}\n")),
        ("hosts", hosts(spec, namespace, hostname, ip)),
        ("resolv.conf", resolv(spec, namespace)),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("passwd", passwd(uid, gid)),
        ("group", group(gid)),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .into()
}

fn hosts(spec: &PodSpec, namespace: &str, hostname: &str, ip: &str) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let full = spec.subdomain.as_deref().map(|sub| format!("{hostname}.{sub}.{namespace}.svc.{DOMAIN}\t"));
    text.push_str(&format!("{ip}\t{}{hostname}\n", full.unwrap_or_default()));
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.iter().flatten().map(String::as_str).collect::<Vec<_>>();
        text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
    }
    text
}

fn resolv(spec: &PodSpec, namespace: &str) -> String {
    let own = spec.dns_config.as_ref();
    let extra = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let mut servers = extra(own.and_then(|dns| dns.nameservers.as_ref()));
    let mut searches = extra(own.and_then(|dns| dns.searches.as_ref()));
    let mut options: Vec<String> = own
        .and_then(|dns| dns.options.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|option| {
            let name = option.name.as_ref()?;
            Some(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")))
        })
        .collect();
    if spec.dns_policy.as_deref() != Some("None") {
        servers.insert(0, DNS_IP.to_string());
        let cluster = [format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()];
        searches.splice(0..0, cluster);
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:5".to_owned());
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

fn passwd(uid: u32, gid: u32) -> String {
    let mut text = String::from("root:x:0:0:root:/root:/bin/sh\n");
    if uid == 1337 {
        text.push_str(&format!("istio-proxy:x:1337:{gid}::/:/usr/sbin/nologin\n"));
    } else if uid != 0 && uid != 65_534 {
        text.push_str(&format!("user:x:{uid}:{gid}::/:/bin/sh\n"));
    }
    text.push_str("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    text
}

fn group(gid: u32) -> String {
    let mut text = String::from("root:x:0:\ntty:x:5:\n");
    if gid == 1337 {
        text.push_str("istio-proxy:x:1337:\n");
    } else if ![0, 5, 65_534].contains(&gid) {
        text.push_str(&format!("user:x:{gid}:\n"));
    }
    text.push_str("nogroup:x:65534:\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_searched_in_the_pods_own_namespace_first() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": []})).unwrap();
        assert_eq!(
            resolv(&spec, "shop"),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver 10.96.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn a_pod_may_bring_its_own_dns() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "1"}]}}))
        .unwrap();
        assert_eq!(resolv(&spec, "shop"), "nameserver 1.1.1.1\noptions ndots:1\n");
    }
}
