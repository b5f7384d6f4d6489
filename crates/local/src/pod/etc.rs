//! The files of `/etc` that say who a pod is and where it finds others.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;

use super::resolv;

pub(super) const DOMAIN: &str = "cluster.local";

/// All files for one container. `host_resolv` is the host's `resolv.conf`.
pub(crate) fn files(
    spec: &PodSpec,
    namespace: &str,
    hostname: &str,
    ips: &[IpAddr],
    (uid, gid): (u32, u32),
    host_resolv: &str,
) -> Vec<(String, String)> {
    [
        ("hostname", format!("{hostname}\n")),
        ("hosts", hosts(spec, namespace, hostname, ips)),
        ("resolv.conf", resolv::conf(spec, namespace, host_resolv)),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("passwd", passwd(uid, gid)),
        ("group", group(gid)),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .into()
}

fn hosts(spec: &PodSpec, namespace: &str, hostname: &str, ips: &[IpAddr]) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let full = spec.subdomain.as_deref().map(|sub| format!("{hostname}.{sub}.{namespace}.svc.{DOMAIN}\t"));
    let full = full.unwrap_or_default();
    for ip in ips {
        text.push_str(&format!("{ip}\t{full}{hostname}\n"));
    }
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.iter().flatten().map(String::as_str).collect::<Vec<_>>();
        text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
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
    fn a_pod_knows_itself_by_its_subdomain_and_others_by_their_aliases() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "subdomain": "db",
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a.example", "b.example"]}]}))
        .unwrap();
        let text = hosts(&spec, "shop", "db-0", &["10.244.0.5".parse().unwrap()]);
        assert!(text.ends_with("10.244.0.5\tdb-0.db.shop.svc.cluster.local\tdb-0\n192.0.2.1\ta.example\tb.example\n"));
    }
}
