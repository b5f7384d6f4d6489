//! The rules that mark packets: transparent interception, and dropping of invalid ones.

use lateen_nft::{Chain, CtState, Expr, Hook, HookKind, L4, Op, Rule, priority};

use super::chains::Chains;
use super::nat::{INBOUND, exclude_inbound_ports, exclude_interfaces, on_loopback, sent_by, tcp};
use super::settings::{CaptureConfig, Mode, Selection};

const DIVERT: &str = "istio-divert";
const TPROXY: &str = "istio-tproxy";

/// The chains of the table that marks.
pub(super) fn chains(config: &CaptureConfig) -> Vec<Chain> {
    let mut mangle = Chains::new([
        Chain::base("prerouting", HookKind::Filter, Hook::Prerouting, priority::MANGLE),
        Chain::base("output", HookKind::Route, Hook::Output, priority::MANGLE),
        Chain::new(DIVERT),
        Chain::new(TPROXY),
        Chain::new(INBOUND),
    ]);
    if config.drop_invalid {
        mangle.add("prerouting", [tcp(), Expr::CtState(vec![CtState::Invalid]), Expr::Counter, Expr::drop()]);
    }
    if config.mode == Mode::Tproxy {
        exclude_interfaces(&mut mangle, config);
        inbound(&mut mangle, config);
        own_traffic(&mut mangle, config);
    }
    mangle.finish()
}

fn inbound(mangle: &mut Chains, config: &CaptureConfig) {
    if config.inbound_ports == Selection::Only(Vec::new()) {
        return;
    }
    mangle.add(DIVERT, [Expr::Counter, Expr::SetMark(config.tproxy_mark)]);
    mangle.add(DIVERT, [Expr::Counter, Expr::accept()]);
    for net in config.loopbacks() {
        let to_proxy = Expr::Tproxy { v6: net.addr().is_ipv6(), port: config.inbound_port };
        let mark = Expr::SetMark(config.tproxy_mark);
        mangle.add(TPROXY, [tcp(), Expr::daddr(Op::Ne, net), to_proxy, mark, Expr::Counter, Expr::accept()]);
    }
    mangle.add("prerouting", [tcp(), Expr::Counter, Expr::jump(INBOUND)]);
    match &config.inbound_ports {
        Selection::All => {
            exclude_inbound_ports(mangle, config);
            divert(mangle, None);
        }
        Selection::Only(ports) => ports.iter().for_each(|port| divert(mangle, Some(*port))),
    }
}

/// Known connections stay with their socket, new ones go to the transparent listener.
fn divert(mangle: &mut Chains, port: Option<u16>) {
    let known = Expr::CtState(vec![CtState::Related, CtState::Established]);
    for (state, chain) in [(Some(known), DIVERT), (None, TPROXY)] {
        let mut rule = vec![tcp()];
        rule.extend(port.map(|port| Expr::dport(L4::Tcp, port)));
        rule.extend(state);
        rule.extend([Expr::Counter, Expr::jump(chain)]);
        mangle.add(INBOUND, Rule(rule));
    }
}

/// What the proxy sends to the application carries the mark of its connection, and goes in as inbound traffic
/// only when it is meant for the service address.
fn own_traffic(mangle: &mut Chains, config: &CaptureConfig) {
    let mark = config.tproxy_mark;
    let outbound_mark = mark + 1;
    mangle.add("prerouting", [tcp(), Expr::Mark(Op::Eq, mark), Expr::Counter, Expr::SetCtMarkFromMark]);
    mangle.add("output", [on_loopback(), tcp(), Expr::Mark(Op::Eq, mark), Expr::Counter, Expr::ret()]);
    for socket in &config.proxy {
        for net in config.loopbacks() {
            let (elsewhere, is) = (Expr::daddr(Op::Ne, net), sent_by(socket, Op::Eq));
            let set = Expr::SetMark(outbound_mark);
            mangle.add("output", [on_loopback(), tcp(), elsewhere, is, Expr::Counter, set]);
        }
    }
    mangle.add("output", [tcp(), Expr::CtMark(Op::Eq, mark), Expr::Counter, Expr::SetMarkFromCt]);
    let from_loopback = || Expr::Iifname(Op::Eq, "lo".into());
    mangle.insert(INBOUND, 0, [tcp(), Expr::Mark(Op::Eq, mark), Expr::Counter, Expr::ret()]);
    for net in config.passthrough_sources() {
        mangle.insert(INBOUND, 1, [from_loopback(), tcp(), Expr::saddr(Op::Eq, net), Expr::Counter, Expr::ret()]);
    }
    let not_ours = Expr::Mark(Op::Ne, outbound_mark);
    mangle.insert(INBOUND, 2, [from_loopback(), tcp(), not_ours, Expr::Counter, Expr::ret()]);
}
