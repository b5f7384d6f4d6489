//! Rules as nft syntax: what a person reads, and what `nft -f` accepts.

use std::fmt::{self, Display, Formatter, Write};
use std::net::{IpAddr, SocketAddr};

use crate::expr::{Dir, Expr, Op, Owner, Ports, Spread, Verdict};
use crate::table::{Base, MapKey, Policy, Rule, Ruleset, SourceSet, Table, VerdictMap};

impl Ruleset {
    /// The whole ruleset as a script for `nft -f`, which replaces the content of each table.
    pub fn render(&self) -> String {
        self.tables.iter().map(Table::render).collect()
    }
}

impl Table {
    /// This table as a script for `nft -f`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let table = format!("{} {}", self.family.name(), self.name);
        let _ = writeln!(out, "add table {table}");
        let _ = writeln!(out, "flush table {table}");
        for chain in &self.chains {
            let base = chain.base.as_ref().map(Base::to_string).unwrap_or_default();
            let _ = writeln!(out, "add chain {table} {}{base}", chain.name);
        }
        for map in &self.maps {
            let _ = writeln!(out, "add map {table} {map}");
        }
        for set in &self.sets {
            let _ = writeln!(out, "add set {table} {set}");
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                let _ = writeln!(out, "add rule {table} {} {rule}", chain.name);
            }
        }
        out
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {{ type {} hook {} priority {} ;", self.kind.name(), self.hook.name(), self.priority)?;
        match self.policy {
            Some(Policy::Accept) => write!(f, " policy accept ;")?,
            Some(Policy::Drop) => write!(f, " policy drop ;")?,
            None => {}
        }
        write!(f, " }}")
    }
}

impl Display for VerdictMap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let addr = if self.v6 { "ipv6_addr" } else { "ipv4_addr" };
        write!(f, "{} {{ type {addr} . inet_proto . inet_service : verdict ;", self.name)?;
        if !self.entries.is_empty() {
            write!(f, " elements = {{ ")?;
            for (i, (key, verdict)) in self.entries.iter().enumerate() {
                write!(f, "{}{key} : {verdict}", if i == 0 { "" } else { ", " })?;
            }
            write!(f, " }} ;")?;
        }
        write!(f, " }}")
    }
}

impl Display for SourceSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let addr = if self.v6 { "ipv6_addr" } else { "ipv4_addr" };
        let seconds = self.timeout.as_secs();
        write!(f, "{} {{ type {addr} ; flags dynamic,timeout ; timeout {seconds}s ; }}", self.name)
    }
}

impl Display for MapKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} . {} . {}", self.addr, self.l4.name(), self.port)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, expr) in self.0.iter().enumerate() {
            write!(f, "{}{expr}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Eq => Ok(()),
            Op::Ne => f.write_str("!= "),
        }
    }
}

impl Display for Owner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Id(id) => write!(f, "{id}"),
            Owner::Name(name) => f.write_str(name),
        }
    }
}

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Ports::One(port) => write!(f, "{port}"),
            Ports::Range(first, last) => write!(f, "{first}-{last}"),
            Ports::Set(ports) => {
                let mut sorted = ports.clone();
                sorted.sort_unstable();
                let list: Vec<String> = sorted.iter().map(u16::to_string).collect();
                write!(f, "{{ {} }}", list.join(", "))
            }
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Return => f.write_str("return"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

fn ip_word(v6: bool) -> &'static str {
    if v6 { "ip6" } else { "ip" }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spread::Random => "random",
            Spread::Inc => "inc",
        })
    }
}

/// `0 : first, 1 : second, ...`
fn numbered(values: impl Iterator<Item = String>) -> String {
    values.enumerate().map(|(i, value)| format!("{i} : {value}")).collect::<Vec<_>>().join(", ")
}

fn render_spread(f: &mut Formatter<'_>, spread: Spread, targets: &[SocketAddr]) -> fmt::Result {
    let ip = ip_word(targets.first().is_some_and(SocketAddr::is_ipv6));
    let list = numbered(targets.iter().map(|target| format!("{} . {}", target.ip(), target.port())));
    write!(f, "dnat {ip} to numgen {spread} mod {} map {{ {list} }}", targets.len())
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::L4Proto(l4) => write!(f, "meta l4proto {}", l4.name()),
            Expr::Addr(dir, op, net) => {
                let ip = ip_word(net.addr().is_ipv6());
                let side = if *dir == Dir::Src { "saddr" } else { "daddr" };
                write!(f, "{ip} {side} {op}{net}")
            }
            Expr::Port(l4, dir, op, ports) => {
                let side = if *dir == Dir::Src { "sport" } else { "dport" };
                write!(f, "{} {side} {op}{ports}", l4.name())
            }
            Expr::Skuid(op, owner) => write!(f, "skuid {op}{owner}"),
            Expr::Skgid(op, owner) => write!(f, "skgid {op}{owner}"),
            Expr::Mark(op, mark) => write!(f, "mark {op}{mark}"),
            Expr::Iifname(op, name) => write!(f, "iifname {op}{name}"),
            Expr::Oifname(op, name) => write!(f, "oifname {op}{name}"),
            Expr::CtMark(op, mark) => write!(f, "ct mark {op}{mark}"),
            Expr::CtState(states) => {
                let names: Vec<_> = states.iter().map(|s| s.name()).collect();
                write!(f, "ct state {}", names.join(","))
            }
            Expr::CtStatusDnat => f.write_str("ct status dnat"),
            Expr::FibDaddrLocal => f.write_str("fib daddr type local"),
            Expr::DestinationMap { map, v6 } => {
                write!(f, "{} daddr . meta l4proto . th dport vmap @{map}", ip_word(*v6))
            }
            Expr::SourceInSet { set, v6 } => write!(f, "{} saddr @{set}", ip_word(*v6)),
            Expr::RememberSource { set, v6 } => write!(f, "update @{set} {{ {} saddr }}", ip_word(*v6)),
            Expr::Counter => f.write_str("counter"),
            Expr::Redirect(port) => write!(f, "redirect to :{port}"),
            Expr::Dnat(to) => write!(f, "dnat {} to {to}", ip_word(to.is_ipv6())),
            Expr::DnatSpread(spread, targets) => render_spread(f, *spread, targets),
            Expr::GotoSpread(spread, chains) => {
                let list = numbered(chains.iter().map(|chain| format!("goto {chain}")));
                write!(f, "numgen {spread} mod {} vmap {{ {list} }}", chains.len())
            }
            Expr::Snat(to) => write!(f, "snat {} to {to}", ip_word(matches!(to, IpAddr::V6(_)))),
            Expr::Masquerade => f.write_str("masquerade"),
            Expr::Tproxy { v6, port } => write!(f, "tproxy {} to :{port}", ip_word(*v6)),
            Expr::SetMark(mark) => write!(f, "meta mark set {mark}"),
            Expr::SetMarkFromCt => f.write_str("meta mark set ct mark"),
            Expr::SetCtMark(mark) => write!(f, "ct mark set {mark}"),
            Expr::SetCtMarkFromMark => f.write_str("ct mark set mark"),
            Expr::SetCtZone(zone) => write!(f, "ct zone set {zone}"),
            Expr::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}
