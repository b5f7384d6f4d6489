//! One condition, or several joined.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::request::Request;
use super::value::ClaimMatch;
use crate::head::RequestHead;
use crate::header_match::HeaderMatch;
use crate::pattern::{Pattern, StringMatch};

/// Texts that are compared as they are; finding one takes the same time however many there are.
pub type Texts = HashSet<Box<str>>;

/// One condition, or several joined.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Always the same answer.
    Always(bool),
    /// All hold.
    All(Box<[Matcher]>),
    /// One holds.
    Either(Box<[Matcher]>),
    /// It doesn't hold.
    Not(Box<Matcher>),
    /// A header.
    Header(HeaderMatch),
    /// The path looks so.
    Path(StringMatch),
    /// The path is one of these.
    Paths(Texts),
    /// The path has this form.
    Template(Pattern),
    /// The address of the destination.
    DestinationIp(IpNet),
    /// The port of the destination; end excluded.
    DestinationPort(Range<u32>),
    /// The server name of TLS.
    ServerName(StringMatch),
    /// The client showed a certificate with such a name, or any when `None`.
    Authenticated(Option<StringMatch>),
    /// The client showed a certificate with one of these names.
    Principals(Texts),
    /// The peer of the socket.
    Direct(IpNet),
    /// The client.
    Remote(IpNet),
    /// A claim of the request's token.
    Claim(ClaimMatch),
}

impl Matcher {
    /// All of these, simplified.
    pub fn all(mut matchers: Vec<Self>) -> Self {
        if matchers.len() == 1 { matchers.remove(0) } else { Self::All(matchers.into()) }
    }

    /// One of these; texts compared as they are become one set.
    pub fn either(matchers: Vec<Self>) -> Self {
        let (mut paths, mut principals, mut others) = (Texts::new(), Texts::new(), Vec::new());
        for matcher in matchers {
            match matcher {
                Self::Path(StringMatch::Exact(text)) => drop(paths.insert(text)),
                Self::Authenticated(Some(StringMatch::Exact(text))) => drop(principals.insert(text)),
                Self::Paths(texts) => paths.extend(texts),
                Self::Principals(texts) => principals.extend(texts),
                other => others.push(other),
            }
        }
        others.extend((!paths.is_empty()).then_some(Self::Paths(paths)));
        others.extend((!principals.is_empty()).then_some(Self::Principals(principals)));
        if others.len() == 1 { others.remove(0) } else { Self::Either(others.into()) }
    }

    /// Whether it holds for a request.
    pub fn matches(&self, request: &Request<'_>) -> bool {
        let within = |net: &IpNet, ip: IpAddr| net.contains(&ip.to_canonical());
        match self {
            Self::Always(answer) => *answer,
            Self::All(all) => all.iter().all(|one| one.matches(request)),
            Self::Either(some) => some.iter().any(|one| one.matches(request)),
            Self::Not(one) => !one.matches(request),
            Self::Header(header) => match request.head {
                Some(head) => header.matches(head),
                None => header.matches_value(None),
            },
            Self::Path(wanted) => request.path().is_some_and(|path| wanted.matches(path.as_bytes())),
            Self::Paths(texts) => request.path().is_some_and(|path| texts.contains(path)),
            Self::Template(form) => request.path().is_some_and(|path| form.matches(path.as_bytes())),
            Self::DestinationIp(net) => within(net, request.destination.ip()),
            Self::DestinationPort(range) => range.contains(&request.destination.port().into()),
            Self::ServerName(wanted) => wanted.matches(request.server_name.as_bytes()),
            Self::Authenticated(wanted) => request.peer.is_some_and(|peer| {
                wanted.as_ref().is_none_or(|wanted| peer.names().any(|name| wanted.matches(name.as_bytes())))
            }),
            Self::Principals(texts) => request.peer.is_some_and(|peer| peer.names().any(|name| texts.contains(name))),
            Self::Direct(net) => within(net, request.direct),
            Self::Remote(net) => within(net, request.remote),
            Self::Claim(claim) => claim.matches(request.head.and_then(RequestHead::claims)),
        }
    }

    /// Names of which the client must have one for this to hold; `None` when it isn't as simple.
    pub(super) fn needs_principal(&self) -> Option<Vec<&str>> {
        match self {
            Self::Authenticated(Some(StringMatch::Exact(text))) => Some(vec![text]),
            Self::Principals(texts) => Some(texts.iter().map(|text| &**text).collect()),
            _ => self.needs(Self::needs_principal),
        }
    }

    /// Paths of which the request must have one for this to hold; `None` when it isn't as simple.
    pub(super) fn needs_path(&self) -> Option<Vec<&str>> {
        match self {
            Self::Path(StringMatch::Exact(text)) => Some(vec![text]),
            Self::Paths(texts) => Some(texts.iter().map(|text| &**text).collect()),
            _ => self.needs(Self::needs_path),
        }
    }

    fn needs<'m>(&'m self, of: impl Fn(&'m Self) -> Option<Vec<&'m str>>) -> Option<Vec<&'m str>> {
        match self {
            Self::All(all) => all.iter().find_map(of),
            Self::Either(some) => some.iter().map(of).collect::<Option<Vec<_>>>().map(|all| all.concat()),
            _ => None,
        }
    }
}
