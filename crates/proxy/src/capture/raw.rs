//! The rules that keep the application's DNS queries and the proxy's apart in connection tracking: both may use
//! one source port towards one server.

use ipnet::IpNet;
use lateen_nft::{Chain, Expr, Hook, HookKind, L4, Op, Rule, priority};

use super::chains::Chains;
use super::nat::{DNS_LISTENER, DNS_PORT, INBOUND, OUTPUT_DNS, sent_by};
use super::settings::{CaptureConfig, DnsCapture};

/// Zone of the proxy's own queries.
const PROXY_ZONE: u16 = 1;
/// Zone of the application's queries.
const APP_ZONE: u16 = 2;

/// The chains of the table that sees packets before connection tracking.
pub(super) fn chains(config: &CaptureConfig) -> Vec<Chain> {
    let targets: Vec<Option<IpNet>> = match &config.dns {
        DnsCapture::Off => return Vec::new(),
        DnsCapture::All => vec![None],
        DnsCapture::Servers(servers) => servers.iter().map(|ip| Some(IpNet::from(*ip))).collect(),
    };
    let mut raw = Chains::new([
        Chain::base("prerouting", HookKind::Filter, Hook::Prerouting, priority::RAW),
        Chain::base("output", HookKind::Filter, Hook::Output, priority::RAW),
        Chain::new(INBOUND),
        Chain::new(OUTPUT_DNS),
    ]);
    raw.add("output", [Expr::Counter, Expr::jump(OUTPUT_DNS)]);
    for socket in &config.proxy {
        let (query, answer) = (Expr::dport(L4::Udp, DNS_PORT), Expr::sport(L4::Udp, DNS_LISTENER));
        raw.add(OUTPUT_DNS, [query, sent_by(socket, Op::Eq), Expr::Counter, Expr::SetCtZone(PROXY_ZONE)]);
        raw.add(OUTPUT_DNS, [answer, sent_by(socket, Op::Eq), Expr::Counter, Expr::SetCtZone(APP_ZONE)]);
    }
    raw.add("prerouting", [Expr::Counter, Expr::jump(INBOUND)]);
    for target in targets {
        let mut query = vec![Expr::dport(L4::Udp, DNS_PORT)];
        query.extend(target.map(|net| Expr::daddr(Op::Eq, net)));
        query.extend([Expr::Counter, Expr::SetCtZone(APP_ZONE)]);
        raw.add(OUTPUT_DNS, Rule(query));
        let mut answer = vec![Expr::sport(L4::Udp, DNS_PORT)];
        answer.extend(target.map(|net| Expr::saddr(Op::Eq, net)));
        answer.extend([Expr::Counter, Expr::SetCtZone(PROXY_ZONE)]);
        raw.add(INBOUND, Rule(answer));
    }
    raw.finish()
}
