//! Tables, chains, maps and rules.

use std::net::IpAddr;
use std::time::Duration;

use crate::expr::{Expr, L4, Verdict};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
    /// Both.
    Inet,
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Ip6 => 10,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        }
    }
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// Filters packets.
    Filter,
    /// Translates addresses of new connections.
    Nat,
    /// Re-routes outgoing packets whose mark changed.
    Route,
}

impl HookKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            HookKind::Filter => "filter",
            HookKind::Nat => "nat",
            HookKind::Route => "route",
        }
    }
}

/// Where a base chain is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before routing of what comes in.
    Prerouting,
    /// Delivered to this namespace.
    Input,
    /// Routed through.
    Forward,
    /// Sent by this namespace.
    Output,
    /// After routing of what goes out.
    Postrouting,
}

impl Hook {
    pub(crate) fn number(self) -> u32 {
        match self {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }
}

/// What happens to a packet that no rule of a base chain decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It passes.
    Accept,
    /// It is dropped.
    Drop,
}

/// The usual priorities of base chains.
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Changes of packets.
    pub const MANGLE: i32 = -150;
    /// Destination translation.
    pub const DSTNAT: i32 = -100;
    /// Filtering.
    pub const FILTER: i32 = 0;
    /// Source translation.
    pub const SRCNAT: i32 = 100;
}

/// How a base chain is attached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    pub(crate) kind: HookKind,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    pub(crate) policy: Option<Policy>,
}

/// A list of rules, attached to a hook (base chain) or jumped to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Name within the table.
    pub name: String,
    pub(crate) base: Option<Base>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// A chain that others jump to.
    pub fn new(name: impl Into<String>) -> Chain {
        Chain { name: name.into(), base: None, rules: Vec::new() }
    }

    /// A chain attached to a hook, with policy accept.
    pub fn base(name: impl Into<String>, kind: HookKind, hook: Hook, priority: i32) -> Chain {
        let base = Base { kind, hook, priority, policy: None };
        Chain { name: name.into(), base: Some(base), rules: Vec::new() }
    }

    /// Sets what happens to a packet that no rule decided on (base chains only).
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Chain {
        if let Some(base) = &mut self.base {
            base.policy = Some(policy);
        }
        self
    }

    /// Adds a rule at the end.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Rule>) -> Chain {
        self.push(rule);
        self
    }

    /// Adds a rule at the end.
    pub fn push(&mut self, rule: impl Into<Rule>) {
        self.rules.push(rule.into());
    }

    /// Puts a rule before the one at `index` (at the end when there are fewer).
    pub fn insert(&mut self, index: usize, rule: impl Into<Rule>) {
        self.rules.insert(index.min(self.rules.len()), rule.into());
    }
}

/// Tests and statements, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule(pub Vec<Expr>);

impl From<Vec<Expr>> for Rule {
    fn from(exprs: Vec<Expr>) -> Rule {
        Rule(exprs)
    }
}

impl<const N: usize> From<[Expr; N]> for Rule {
    fn from(exprs: [Expr; N]) -> Rule {
        Rule(exprs.into())
    }
}

/// One destination that a [`VerdictMap`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapKey {
    /// Destination address.
    pub addr: IpAddr,
    /// Transport protocol.
    pub l4: L4,
    /// Destination port.
    pub port: u16,
}

/// A named map from destination to verdict: one look-up however many entries there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictMap {
    /// Name within the table.
    pub name: String,
    /// Whether its addresses are IPv6. Keys of the other family are refused by [`crate::apply`].
    pub v6: bool,
    /// Entries; keys are distinct.
    pub entries: Vec<(MapKey, Verdict)>,
}

/// A named set of client addresses that rules put there; each is forgotten after a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceSet {
    /// Name within the table.
    pub name: String,
    /// Whether its addresses are IPv6.
    pub v6: bool,
    /// How long an address stays after it was last put there.
    pub timeout: Duration,
}

/// A table of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Named maps.
    pub maps: Vec<VerdictMap>,
    /// Named sets of client addresses.
    pub sets: Vec<SourceSet>,
    /// Chains; a rule may jump to any of them.
    pub chains: Vec<Chain>,
}

impl Table {
    /// An empty table.
    pub fn new(family: Family, name: impl Into<String>) -> Table {
        Table { family, name: name.into(), maps: Vec::new(), sets: Vec::new(), chains: Vec::new() }
    }

    /// Adds a chain.
    #[must_use]
    pub fn chain(mut self, chain: Chain) -> Table {
        self.chains.push(chain);
        self
    }

    /// Adds a named map.
    #[must_use]
    pub fn map(mut self, map: VerdictMap) -> Table {
        self.maps.push(map);
        self
    }

    /// Adds a named set of client addresses.
    #[must_use]
    pub fn set(mut self, set: SourceSet) -> Table {
        self.sets.push(set);
        self
    }
}

/// Tables that are put into the kernel together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The tables.
    pub tables: Vec<Table>,
}

impl From<Table> for Ruleset {
    fn from(table: Table) -> Ruleset {
        Ruleset { tables: vec![table] }
    }
}

impl From<Vec<Table>> for Ruleset {
    fn from(tables: Vec<Table>) -> Ruleset {
        Ruleset { tables }
    }
}
