//! What one rule tests and does.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Whether a test asks for equality or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The value is the given one.
    Eq,
    /// The value differs from the given one.
    Ne,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L4 {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP (version 4).
    Icmp,
    /// ICMP for IPv6.
    Icmp6,
}

impl L4 {
    pub(crate) fn number(self) -> u8 {
        match self {
            L4::Icmp => 1,
            L4::Tcp => 6,
            L4::Udp => 17,
            L4::Icmp6 => 58,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            L4::Icmp => "icmp",
            L4::Tcp => "tcp",
            L4::Udp => "udp",
            L4::Icmp6 => "ipv6-icmp",
        }
    }
}

/// Which end of a packet a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Source address or port.
    Src,
    /// Destination address or port.
    Dst,
}

/// The user or group that owns the sending socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// By number.
    Id(u32),
    /// By name, looked up in `/etc/passwd` or `/etc/group` when the rules are applied.
    Name(String),
}

impl Owner {
    /// Reads a number, else keeps the text as a name.
    pub fn parse(text: &str) -> Owner {
        text.parse().map_or_else(|_| Owner::Name(text.to_owned()), Owner::Id)
    }
}

impl From<u32> for Owner {
    fn from(id: u32) -> Owner {
        Owner::Id(id)
    }
}

/// The ports that a test accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Exactly one.
    One(u16),
    /// Any of these (shown and stored in ascending order).
    Set(Vec<u16>),
    /// All from the first to the last.
    Range(u16, u16),
}

impl From<u16> for Ports {
    fn from(port: u16) -> Ports {
        Ports::One(port)
    }
}

/// State of the tracked connection that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtState {
    /// Not a valid part of any connection.
    Invalid,
    /// Seen in both directions.
    Established,
    /// New, but belonging to a known one.
    Related,
    /// First packet.
    New,
}

impl CtState {
    pub(crate) fn bit(self) -> u32 {
        match self {
            CtState::Invalid => 1,
            CtState::Established => 2,
            CtState::Related => 4,
            CtState::New => 8,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            CtState::Invalid => "invalid",
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::New => "new",
        }
    }
}

/// How connections are spread over several destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Each connection goes to a random one.
    Random,
    /// One after the other.
    Inc,
}

/// Where processing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet passes this hook.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Back to the calling chain, or the policy.
    Return,
    /// To a chain, and back after its end.
    Jump(String),
    /// To a chain, not back.
    Goto(String),
}

/// One test or statement of a rule. A rule's statements run when all tests before them hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// `meta l4proto`
    L4Proto(L4),
    /// `ip saddr`, `ip daddr`, `ip6 ...`: in that network or not
    Addr(Dir, Op, IpNet),
    /// `tcp dport` and so on
    Port(L4, Dir, Op, Ports),
    /// `skuid`: user of the sending socket
    Skuid(Op, Owner),
    /// `skgid`: group of the sending socket
    Skgid(Op, Owner),
    /// `mark`: mark of the packet
    Mark(Op, u32),
    /// `iifname`: interface it came in by
    Iifname(Op, String),
    /// `oifname`: interface it leaves by
    Oifname(Op, String),
    /// `ct mark`: mark of the connection
    CtMark(Op, u32),
    /// `ct state`: any of these
    CtState(Vec<CtState>),
    /// `ct status dnat`: the connection's destination was translated
    CtStatusDnat,
    /// `fib daddr type local`: the destination is an address of this namespace
    FibDaddrLocal,
    /// `<family> daddr . meta l4proto . th dport vmap @name`: the verdict that a named map of the table gives
    /// for the destination; goes on with the next rule when the map has none. The bool says IPv6.
    DestinationMap {
        /// Name of a [`crate::VerdictMap`] in the same table.
        map: String,
        /// Whether the map's addresses are IPv6.
        v6: bool,
    },
    /// `ip saddr @name`: the source address is in a [`crate::SourceSet`] of the same table.
    SourceInSet {
        /// Name of the set.
        set: String,
        /// Whether the set's addresses are IPv6.
        v6: bool,
    },
    /// `update @name { ip saddr }`: puts the source address into a [`crate::SourceSet`], or makes its time begin anew.
    RememberSource {
        /// Name of the set.
        set: String,
        /// Whether the set's addresses are IPv6.
        v6: bool,
    },
    /// `counter`
    Counter,
    /// `redirect to :port`
    Redirect(u16),
    /// `dnat to addr:port`
    Dnat(SocketAddr),
    /// `dnat to numgen ... mod n map { 0 : addr . port, ... }`; targets are of one family
    DnatSpread(Spread, Vec<SocketAddr>),
    /// `numgen ... mod n vmap { 0 : goto chain, ... }`
    GotoSpread(Spread, Vec<String>),
    /// `snat to addr`
    Snat(IpAddr),
    /// `masquerade`
    Masquerade,
    /// `tproxy ip to :port` (or `ip6`)
    Tproxy {
        /// Whether it is for IPv6.
        v6: bool,
        /// Port of the transparent listener.
        port: u16,
    },
    /// `meta mark set`
    SetMark(u32),
    /// `meta mark set ct mark`
    SetMarkFromCt,
    /// `ct mark set`
    SetCtMark(u32),
    /// `ct mark set mark`
    SetCtMarkFromMark,
    /// `ct zone set`
    SetCtZone(u16),
    /// `accept`, `drop`, `return`, `jump`, `goto`
    Verdict(Verdict),
}

impl Expr {
    /// Jumps to a chain.
    pub fn jump(chain: impl Into<String>) -> Expr {
        Expr::Verdict(Verdict::Jump(chain.into()))
    }

    /// Goes to a chain.
    pub fn goto(chain: impl Into<String>) -> Expr {
        Expr::Verdict(Verdict::Goto(chain.into()))
    }

    /// Ends this chain.
    pub fn ret() -> Expr {
        Expr::Verdict(Verdict::Return)
    }

    /// Accepts the packet.
    pub fn accept() -> Expr {
        Expr::Verdict(Verdict::Accept)
    }

    /// Drops the packet.
    pub fn drop() -> Expr {
        Expr::Verdict(Verdict::Drop)
    }

    /// Tests the destination address.
    pub fn daddr(op: Op, net: impl Into<IpNet>) -> Expr {
        Expr::Addr(Dir::Dst, op, net.into())
    }

    /// Tests the source address.
    pub fn saddr(op: Op, net: impl Into<IpNet>) -> Expr {
        Expr::Addr(Dir::Src, op, net.into())
    }

    /// Tests the destination port.
    pub fn dport(l4: L4, ports: impl Into<Ports>) -> Expr {
        Expr::Port(l4, Dir::Dst, Op::Eq, ports.into())
    }

    /// Tests the source port.
    pub fn sport(l4: L4, ports: impl Into<Ports>) -> Expr {
        Expr::Port(l4, Dir::Src, Op::Eq, ports.into())
    }
}
