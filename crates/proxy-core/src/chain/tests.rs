use super::*;
use crate::conn::Transport;

fn chain(name: &str, matcher: ChainMatch) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        matcher,
        tls: None,
        handshake_timeout: None,
        terminal: Terminal::Close("test".into()),
        provenance: None,
    })
}

fn texts(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|text| Box::from(*text)).collect()
}

struct Conn {
    to: &'static str,
    tls: bool,
    sni: Option<&'static str>,
    alpn: &'static [&'static str],
}

fn found(chains: &[Arc<FilterChain>], conn: &Conn) -> Option<String> {
    let source = "10.0.0.9:4000".parse().expect("address");
    let info = ConnInfo {
        destination: conn.to.parse().expect("address"),
        source,
        direct_source: source,
        transport: if conn.tls { Transport::Tls } else { Transport::Raw },
        server_name: conn.sni,
        application_protocols: conn.alpn,
    };
    find(chains, &info).map(|chain| chain.name.to_string())
}

const MTLS: &[&str] = &["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

fn inbound() -> Vec<Arc<FilterChain>> {
    let port = |destination_port, transport: &str, protocols: &[&str]| ChainMatch {
        destination_port,
        transport: transport.into(),
        protocols: texts(protocols),
        ..ChainMatch::default()
    };
    vec![
        chain("5678-mtls", port(Some(5678), "tls", MTLS)),
        chain("5678-plain", port(Some(5678), "raw_buffer", &[])),
        chain("any-mtls-http", port(None, "tls", &["istio-http/1.1", "istio-h2"])),
        chain("any-mtls-tcp", port(None, "tls", &["istio-peer-exchange", "istio"])),
        chain("any-plain-http", port(None, "raw_buffer", &["http/1.1", "h2c"])),
        chain("any-plain-tcp", port(None, "raw_buffer", &[])),
        chain("any-tls", port(None, "tls", &[])),
        chain("blackhole", port(Some(15006), "", &[])),
    ]
}

#[test]
fn inbound_connections_find_their_chain() {
    let chains = inbound();
    let app = "10.244.0.5:5678";
    let other = "10.244.0.5:9999";
    for (to, tls, alpn, expect) in [
        (app, true, &["istio-http/1.1", "istio"][..], Some("5678-mtls")),
        (app, false, &["http/1.1"], Some("5678-plain")),
        (app, false, &[], Some("5678-plain")),
        // A chain for the port exists, so chains for any port are out, whatever the protocol.
        (app, true, &["h2"], None),
        (other, true, &["istio-h2"], Some("any-mtls-http")),
        (other, true, &["istio"], Some("any-mtls-tcp")),
        (other, true, &["h2"], Some("any-tls")),
        (other, false, &["http/1.1"], Some("any-plain-http")),
        (other, false, &[], Some("any-plain-tcp")),
        ("10.244.0.5:15006", false, &[], Some("blackhole")),
    ] {
        let conn = Conn { to, tls, sni: None, alpn };
        assert_eq!(found(&chains, &conn).as_deref(), expect, "{to} tls={tls} {alpn:?}");
    }
}

#[test]
fn server_names_go_from_exact_to_wildcard_to_none() {
    let names = |list: &[&str]| ChainMatch { server_names: texts(list), ..ChainMatch::default() };
    let chains = vec![
        chain("exact", names(&["a.example.com"])),
        chain("near", names(&["*.b.example.com"])),
        chain("wild", names(&["*.example.com"])),
        chain("rest", ChainMatch::default()),
    ];
    for (sni, expect) in [
        (Some("a.example.com"), "exact"),
        (Some("x.b.example.com"), "near"),
        (Some("x.example.com"), "wild"),
        (Some("example.com"), "rest"),
        (None, "rest"),
    ] {
        let conn = Conn { to: "1.2.3.4:443", tls: true, sni, alpn: &[] };
        assert_eq!(found(&chains, &conn).as_deref(), Some(expect), "{sni:?}");
    }
}

#[test]
fn the_longest_prefix_wins() {
    let nets = |list: &[&str]| ChainMatch {
        prefixes: list.iter().map(|net| net.parse().expect("prefix")).collect(),
        ..ChainMatch::default()
    };
    let chains = vec![
        chain("all", nets(&["0.0.0.0/0"])),
        chain("ten", nets(&["10.0.0.0/8"])),
        chain("one", nets(&["10.1.2.3/32"])),
    ];
    for (to, expect) in [("10.1.2.3:80", "one"), ("10.9.9.9:80", "ten"), ("11.0.0.1:80", "all")] {
        let conn = Conn { to, tls: false, sni: None, alpn: &[] };
        assert_eq!(found(&chains, &conn).as_deref(), Some(expect));
    }
}
