//! The rules that redirect connections.

use ipnet::IpNet;
use lateen_nft::{Chain, Dir, Expr, Hook, HookKind, L4, Op, Ports, Rule, priority};

use super::chains::Chains;
use super::settings::{CaptureConfig, DnsCapture, Mode, ProxySocket, Selection};

pub(super) const INBOUND: &str = "istio-inbound";
const REDIRECT: &str = "istio-redirect";
const IN_REDIRECT: &str = "istio-in-redirect";
pub(super) const OUTPUT: &str = "istio-output";
pub(super) const OUTPUT_DNS: &str = "istio-output-dns";
pub(super) const DNS_PORT: u16 = 53;
pub(super) const DNS_LISTENER: u16 = 15053;

/// The chains of the table that redirects.
pub(super) fn chains(config: &CaptureConfig) -> Vec<Chain> {
    let mut nat = Chains::new([
        Chain::base("prerouting", HookKind::Nat, Hook::Prerouting, priority::DSTNAT),
        Chain::base("output", HookKind::Nat, Hook::Output, priority::DSTNAT),
        Chain::new(INBOUND),
        Chain::new(REDIRECT),
        Chain::new(IN_REDIRECT),
        Chain::new(OUTPUT),
        Chain::new(OUTPUT_DNS),
    ]);
    exclude_interfaces(&mut nat, config);
    for name in &config.virtual_interfaces {
        nat.insert("prerouting", 0, [Expr::Iifname(Op::Eq, name.clone()), Expr::Counter, Expr::ret()]);
    }
    nat.add(INBOUND, [tcp(), Expr::dport(L4::Tcp, config.tunnel_port), Expr::Counter, Expr::ret()]);
    nat.add(REDIRECT, [tcp(), Expr::Counter, Expr::Redirect(config.outbound_port)]);
    nat.add(IN_REDIRECT, [tcp(), Expr::Counter, Expr::Redirect(config.inbound_port)]);
    if config.mode == Mode::Redirect {
        inbound(&mut nat, config);
    }
    outbound(&mut nat, config);
    nat.finish()
}

pub(super) fn tcp() -> Expr {
    Expr::L4Proto(L4::Tcp)
}

pub(super) fn on_loopback() -> Expr {
    Expr::Oifname(Op::Eq, "lo".into())
}

/// Leaves whole interfaces alone.
pub(super) fn exclude_interfaces(chains: &mut Chains, config: &CaptureConfig) {
    for name in &config.exclude_interfaces {
        chains.add("prerouting", [Expr::Iifname(Op::Eq, name.clone()), Expr::Counter, Expr::ret()]);
        chains.add("output", [Expr::Oifname(Op::Eq, name.clone()), Expr::Counter, Expr::ret()]);
    }
}

fn inbound(nat: &mut Chains, config: &CaptureConfig) {
    if config.inbound_ports != Selection::Only(Vec::new()) {
        nat.add("prerouting", [tcp(), Expr::Counter, Expr::jump(INBOUND)]);
    }
    match &config.inbound_ports {
        Selection::All => {
            exclude_inbound_ports(nat, config);
            nat.add(INBOUND, [tcp(), Expr::Counter, Expr::jump(IN_REDIRECT)]);
        }
        Selection::Only(ports) => {
            for port in ports {
                nat.add(INBOUND, [tcp(), Expr::dport(L4::Tcp, *port), Expr::Counter, Expr::jump(IN_REDIRECT)]);
            }
        }
    }
}

pub(super) fn exclude_inbound_ports(chains: &mut Chains, config: &CaptureConfig) {
    for port in &config.inbound_exclude {
        chains.add(INBOUND, [tcp(), Expr::dport(L4::Tcp, *port), Expr::Counter, Expr::ret()]);
    }
}

fn outbound(nat: &mut Chains, config: &CaptureConfig) {
    nat.add("output", [Expr::Counter, Expr::jump(OUTPUT)]);
    for port in &config.outbound_ports_exclude {
        nat.add(OUTPUT, [Expr::dport(L4::Tcp, *port), Expr::Counter, Expr::ret()]);
    }
    for net in config.passthrough_sources() {
        nat.add(OUTPUT, [on_loopback(), Expr::saddr(Op::Eq, net), Expr::Counter, Expr::ret()]);
    }
    for socket in &config.proxy {
        proxy_socket(nat, config, socket);
    }
    owner_groups(nat, config);
    dns(nat, config);
    for net in config.loopbacks().into_iter().chain(config.outbound_ranges_exclude.iter().copied()) {
        nat.add(OUTPUT, [Expr::daddr(Op::Eq, net), Expr::Counter, Expr::ret()]);
    }
    for port in &config.outbound_ports {
        nat.add(OUTPUT, [Expr::dport(L4::Tcp, *port), Expr::Counter, Expr::jump(REDIRECT)]);
    }
    match &config.outbound_ranges {
        Selection::All => capture_range(nat, config, None),
        Selection::Only(nets) => nets.iter().for_each(|net| capture_range(nat, config, Some(*net))),
    }
}

/// What the proxy itself sends: to the application over the service address it goes back in as inbound traffic,
/// anything else is left alone. What others send over loopback never leaves the pod and is left alone, too.
fn proxy_socket(nat: &mut Chains, config: &CaptureConfig, socket: &ProxySocket) {
    let dns = config.dns != DnsCapture::Off;
    let group = matches!(socket, ProxySocket::Group(_));
    for net in config.loopbacks() {
        let except =
            if dns && !group { Ports::Set(vec![DNS_PORT, config.tunnel_port]) } else { Ports::One(config.tunnel_port) };
        let not_ports = Expr::Port(L4::Tcp, Dir::Dst, Op::Ne, except);
        let elsewhere = Expr::daddr(Op::Ne, net);
        let is = sent_by(socket, Op::Eq);
        nat.add(OUTPUT, [on_loopback(), tcp(), elsewhere, not_ports, is, Expr::Counter, Expr::jump(IN_REDIRECT)]);
    }
    if !config.captures_loopback() {
        let mut rule = vec![on_loopback()];
        if dns {
            rule.extend([tcp(), Expr::Port(L4::Tcp, Dir::Dst, Op::Ne, Ports::One(DNS_PORT))]);
        }
        rule.extend([sent_by(socket, Op::Ne), Expr::Counter, Expr::ret()]);
        nat.add(OUTPUT, Rule(rule));
    }
    nat.add(OUTPUT, [sent_by(socket, Op::Eq), Expr::Counter, Expr::ret()]);
}

/// Tests whose socket a packet comes from.
pub(super) fn sent_by(socket: &ProxySocket, op: Op) -> Expr {
    match socket {
        ProxySocket::User(owner) => Expr::Skuid(op, owner.clone()),
        ProxySocket::Group(owner) => Expr::Skgid(op, owner.clone()),
        ProxySocket::Mark(mark) => Expr::Mark(op, *mark),
    }
}

fn owner_groups(nat: &mut Chains, config: &CaptureConfig) {
    for group in &config.groups_exclude {
        nat.add(OUTPUT, [Expr::Skgid(Op::Eq, group.clone()), Expr::Counter, Expr::ret()]);
    }
    if let Selection::Only(groups) = &config.groups {
        let mut rule: Vec<_> = groups.iter().map(|g| Expr::Skgid(Op::Ne, g.clone())).collect();
        rule.extend([Expr::Counter, Expr::ret()]);
        nat.add(OUTPUT, Rule(rule));
    }
}

fn dns(nat: &mut Chains, config: &CaptureConfig) {
    let targets: Vec<Option<IpNet>> = match &config.dns {
        DnsCapture::Off => return,
        DnsCapture::All => vec![None],
        DnsCapture::Servers(servers) => servers.iter().map(|ip| Some(IpNet::from(*ip))).collect(),
    };
    nat.add(OUTPUT, [Expr::Counter, Expr::jump(OUTPUT_DNS)]);
    for target in targets {
        for l4 in [L4::Tcp, L4::Udp] {
            let mut rule: Vec<_> = target.iter().map(|net| Expr::daddr(Op::Eq, *net)).collect();
            rule.extend([Expr::dport(l4, DNS_PORT), Expr::Counter, Expr::Redirect(DNS_LISTENER)]);
            nat.add(OUTPUT_DNS, Rule(rule));
        }
    }
}

/// Captures what goes to a network, or to anywhere.
fn capture_range(nat: &mut Chains, config: &CaptureConfig, net: Option<IpNet>) {
    let to = || net.iter().map(|net| Expr::daddr(Op::Eq, *net));
    for name in &config.virtual_interfaces {
        let mut rule = vec![Expr::Iifname(Op::Eq, name.clone())];
        rule.extend(to());
        rule.extend([Expr::Counter, Expr::jump(REDIRECT)]);
        nat.insert("prerouting", 0, Rule(rule));
    }
    let mut rule: Vec<_> = to().collect();
    rule.extend([Expr::Counter, Expr::jump(REDIRECT)]);
    nat.add(OUTPUT, Rule(rule));
}
