//! One rule as the kernel's small register program.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::apply::{Error, resolve_group, resolve_user};
use crate::expr::{Dir, Expr, L4, Op, Ports, Verdict};
use crate::table::{Family, Rule, Table};

use super::message::{Attrs, Batch, Part};
use super::number::*;
use super::ruleset;
use super::set::Data;

/// Adds the messages for one rule: its anonymous sets first.
pub(super) fn put(batch: &mut Batch, part: Part, table: &Table, chain: &str, rule: &Rule) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(256);
    let mut program = Program { batch, part, table, out: Attrs(&mut bytes), v6: None, l4: None };
    for expr in &rule.0 {
        program.expr(expr)?;
    }
    batch.push(part, msg::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, table.family.number(), |a| {
        a.text(attr::RULE_TABLE, &table.name);
        a.text(attr::RULE_CHAIN, chain);
        a.nest(attr::RULE_EXPRESSIONS, |a| a.0.extend_from_slice(&bytes));
    });
    Ok(())
}

/// An address in network order.
pub(super) fn address_bytes(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

pub(super) struct Program<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) part: Part,
    pub(super) table: &'a Table,
    out: Attrs<'a>,
    /// What the tests so far have settled about the packet.
    v6: Option<bool>,
    l4: Option<L4>,
}

impl Program<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<(), Error> {
        match expr {
            Expr::L4Proto(l4) => self.need_l4(*l4),
            Expr::Addr(dir, op, net) => self.address(*dir, *op, *net),
            Expr::Port(l4, dir, op, ports) => self.port(*l4, *dir, *op, ports),
            Expr::Skuid(op, owner) => self.meta_is(meta::SKUID, *op, &resolve_user(owner)?.to_ne_bytes()),
            Expr::Skgid(op, owner) => self.meta_is(meta::SKGID, *op, &resolve_group(owner)?.to_ne_bytes()),
            Expr::Mark(op, mark) => self.meta_is(meta::MARK, *op, &mark.to_ne_bytes()),
            Expr::Iifname(op, name) => self.meta_is(meta::IIFNAME, *op, &interface(name)),
            Expr::Oifname(op, name) => self.meta_is(meta::OIFNAME, *op, &interface(name)),
            Expr::CtMark(op, mark) => {
                self.load("ct", ct::MARK);
                self.compare(*op, &mark.to_ne_bytes());
            }
            Expr::CtState(states) => {
                self.ct_bits(ct::STATE, states.iter().fold(0, |bits, s| bits | s.bit()));
            }
            Expr::CtStatusDnat => self.ct_bits(ct::STATUS, ct::STATUS_DST_NAT),
            Expr::FibDaddrLocal => self.fib_local(),
            Expr::DestinationMap { map, v6 } => self.destination_map(map, *v6),
            Expr::SourceInSet { set, v6 } => self.source_in_set(set, *v6),
            other => self.statement(other)?,
        }
        Ok(())
    }

    fn statement(&mut self, expr: &Expr) -> Result<(), Error> {
        match expr {
            Expr::Counter => self.op("counter", |_| {}),
            Expr::Redirect(port) => {
                self.immediate(reg::R1, &port.to_be_bytes());
                self.op("redir", |a| a.be32(1, reg::R1));
            }
            Expr::Dnat(to) => {
                self.need_family(to.is_ipv6());
                self.immediate(reg::R1, &address_bytes(to.ip()));
                self.immediate(reg::R2, &to.port().to_be_bytes());
                self.nat(NAT_DNAT, to.is_ipv6(), reg::R1, Some(reg::R2));
            }
            Expr::DnatSpread(spread, targets) => self.dnat_spread(*spread, targets)?,
            Expr::GotoSpread(spread, chains) => self.goto_spread(*spread, chains)?,
            Expr::RememberSource { set, v6 } => self.remember_source(set, *v6),
            Expr::Snat(to) => {
                self.need_family(to.is_ipv6());
                self.immediate(reg::R1, &address_bytes(*to));
                self.nat(NAT_SNAT, to.is_ipv6(), reg::R1, None);
            }
            Expr::Masquerade => self.op("masq", |_| {}),
            Expr::Tproxy { v6, port } => {
                self.immediate(reg::R1, &port.to_be_bytes());
                let family = u32::from(nfproto(*v6));
                self.op("tproxy", |a| {
                    a.be32(1, family);
                    a.be32(3, reg::R1);
                });
            }
            Expr::SetMark(mark) => {
                self.immediate(reg::R1, &mark.to_ne_bytes());
                self.store("meta", meta::MARK);
            }
            Expr::SetMarkFromCt => {
                self.load("ct", ct::MARK);
                self.store("meta", meta::MARK);
            }
            Expr::SetCtMark(mark) => {
                self.immediate(reg::R1, &mark.to_ne_bytes());
                self.store("ct", ct::MARK);
            }
            Expr::SetCtMarkFromMark => {
                self.load("meta", meta::MARK);
                self.store("ct", ct::MARK);
            }
            Expr::SetCtZone(zone) => {
                self.immediate(reg::R1, &zone.to_ne_bytes());
                self.store("ct", ct::ZONE);
            }
            Expr::Verdict(verdict) => self.verdict(verdict),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn op(&mut self, name: &str, fill: impl FnOnce(&mut Attrs<'_>)) {
        self.out.nest(attr::LIST_ELEM, |a| {
            a.text(attr::EXPR_NAME, name);
            a.nest(attr::EXPR_DATA, fill);
        });
    }

    fn load(&mut self, kind: &str, key: u32) {
        self.load_to(kind, key, reg::R1);
    }

    fn load_to(&mut self, kind: &str, key: u32, register: u32) {
        self.op(kind, |a| {
            a.be32(1, register);
            a.be32(2, key);
        });
    }

    /// Stores register 1; `meta` and `ct` name the source register differently.
    fn store(&mut self, kind: &str, key: u32) {
        let source = if kind == "meta" { 3 } else { 4 };
        self.op(kind, |a| {
            a.be32(2, key);
            a.be32(source, reg::R1);
        });
    }

    fn compare(&mut self, op: Op, value: &[u8]) {
        self.op("cmp", |a| {
            a.be32(1, reg::R1);
            a.be32(2, u32::from(op == Op::Ne));
            a.nest(3, |a| a.bytes(attr::DATA_VALUE, value));
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        let zero = vec![0; mask.len()];
        self.op("bitwise", |a| {
            a.be32(1, reg::R1);
            a.be32(2, reg::R1);
            a.be32(3, mask.len() as u32);
            a.nest(4, |a| a.bytes(attr::DATA_VALUE, mask));
            a.nest(5, |a| a.bytes(attr::DATA_VALUE, &zero));
        });
    }

    fn immediate(&mut self, register: u32, value: &[u8]) {
        self.op("immediate", |a| {
            a.be32(1, register);
            a.nest(2, |a| a.bytes(attr::DATA_VALUE, value));
        });
    }

    pub(super) fn payload(&mut self, register: u32, base: u32, offset: u32, len: u32) {
        self.op("payload", |a| {
            a.be32(1, register);
            a.be32(2, base);
            a.be32(3, offset);
            a.be32(4, len);
        });
    }

    fn meta_is(&mut self, key: u32, op: Op, value: &[u8]) {
        self.load("meta", key);
        self.compare(op, value);
    }

    fn ct_bits(&mut self, key: u32, bits: u32) {
        self.load("ct", key);
        self.mask(&bits.to_ne_bytes());
        self.compare(Op::Ne, &[0; 4]);
    }

    pub(super) fn need_family(&mut self, v6: bool) {
        if self.table.family == Family::Inet && self.v6 != Some(v6) {
            self.meta_is(meta::NFPROTO, Op::Eq, &[nfproto(v6)]);
            self.v6 = Some(v6);
        }
    }

    fn need_l4(&mut self, l4: L4) {
        if self.l4 != Some(l4) {
            self.meta_is(meta::L4PROTO, Op::Eq, &[l4.number()]);
            self.l4 = Some(l4);
        }
    }

    fn address(&mut self, dir: Dir, op: Op, net: IpNet) {
        let v6 = net.addr().is_ipv6();
        self.need_family(v6);
        let (offset, len) = address_place(dir, v6);
        self.payload(reg::R1, PAYLOAD_NETWORK, offset, len);
        if net.prefix_len() < net.max_prefix_len() {
            self.mask(&address_bytes(net.netmask()));
        }
        self.compare(op, &address_bytes(net.network()));
    }

    fn port(&mut self, l4: L4, dir: Dir, op: Op, ports: &Ports) {
        self.need_l4(l4);
        let offset = if dir == Dir::Src { 0 } else { 2 };
        self.payload(reg::R1, PAYLOAD_TRANSPORT, offset, 2);
        match ports {
            Ports::One(port) => self.compare(op, &port.to_be_bytes()),
            Ports::Range(first, last) => self.op("range", |a| {
                a.be32(1, reg::R1);
                a.be32(2, u32::from(op == Op::Ne));
                a.nest(3, |a| a.bytes(attr::DATA_VALUE, &first.to_be_bytes()));
                a.nest(4, |a| a.bytes(attr::DATA_VALUE, &last.to_be_bytes()));
            }),
            Ports::Set(ports) => {
                let keys = ports.iter().map(|p| (p.to_be_bytes().to_vec(), Data::None)).collect();
                let id = self.anonymous_set((data_type::INET_SERVICE, 2), None, keys);
                self.lookup(id, reg::R1, None, op);
            }
        }
    }

    fn fib_local(&mut self) {
        self.op("fib", |a| {
            a.be32(1, reg::R1);
            a.be32(2, FIB_RESULT_ADDRTYPE);
            a.be32(3, FIB_F_DADDR);
        });
        self.compare(Op::Eq, &RTN_LOCAL.to_ne_bytes());
    }

    fn destination_map(&mut self, map: &str, v6: bool) {
        self.need_family(v6);
        let (offset, len) = address_place(Dir::Dst, v6);
        let after = reg::WORD0 + len / 4;
        self.payload(reg::WORD0, PAYLOAD_NETWORK, offset, len);
        self.load_to("meta", meta::L4PROTO, after);
        self.payload(after + 1, PAYLOAD_TRANSPORT, 2, 2);
        self.op("lookup", |a| {
            a.text(1, map);
            a.be32(2, reg::WORD0);
            a.be32(3, reg::VERDICT);
        });
    }

    /// Translates to what the registers hold; the family was settled before they were loaded.
    pub(super) fn nat(&mut self, kind: u32, v6: bool, addr: u32, port: Option<u32>) {
        self.op("nat", |a| {
            a.be32(1, kind);
            a.be32(2, u32::from(nfproto(v6)));
            a.be32(3, addr);
            if let Some(port) = port {
                a.be32(5, port);
            }
        });
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.op("immediate", |a| {
            a.be32(1, reg::VERDICT);
            a.nest(2, |a| ruleset::verdict(a, verdict));
        });
    }
}

fn nfproto(v6: bool) -> u8 {
    if v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 }
}

/// Offset and length of an address in its header.
pub(super) fn address_place(dir: Dir, v6: bool) -> (u32, u32) {
    match (dir, v6) {
        (Dir::Src, false) => (12, 4),
        (Dir::Dst, false) => (16, 4),
        (Dir::Src, true) => (8, 16),
        (Dir::Dst, true) => (24, 16),
    }
}

/// An interface name as the kernel compares it; a trailing `*` leaves the rest open.
fn interface(name: &str) -> Vec<u8> {
    match name.strip_suffix('*') {
        Some(prefix) => prefix.as_bytes().to_vec(),
        None => {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        }
    }
}
