//! Where a VirtualService leads.

use std::fmt;

use lateen_api::istio::{Destination, VirtualService};

/// The field of a VirtualService that names a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A destination of an HTTP route.
    Http(usize, usize),
    /// The mirror of an HTTP route.
    Mirror(usize),
    /// One of several mirrors of an HTTP route.
    Mirrors(usize, usize),
    /// A destination of a TLS route.
    Tls(usize, usize),
    /// A destination of a TCP route.
    Tcp(usize, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(route, to) => write!(f, "http[{route}].route[{to}].destination"),
            Self::Mirror(route) => write!(f, "http[{route}].mirror"),
            Self::Mirrors(route, to) => write!(f, "http[{route}].mirrors[{to}].destination"),
            Self::Tls(route, to) => write!(f, "tls[{route}].route[{to}].destination"),
            Self::Tcp(route, to) => write!(f, "tcp[{route}].route[{to}].destination"),
        }
    }
}

/// All destinations, with the fields that name them.
pub fn destinations(spec: &VirtualService) -> impl Iterator<Item = (Place, &Destination)> {
    let http = spec.http.iter().enumerate().flat_map(|(i, route)| {
        let to = route.route.iter().enumerate().map(move |(n, to)| (Place::Http(i, n), &to.destination));
        let mirror = route.mirror.iter().map(move |to| (Place::Mirror(i), to));
        let mirrors = route.mirrors.iter().enumerate().map(move |(n, to)| (Place::Mirrors(i, n), &to.destination));
        to.chain(mirror).chain(mirrors)
    });
    let tls =
        spec.tls.iter().enumerate().flat_map(|(i, route)| {
            route.route.iter().enumerate().map(move |(n, to)| (Place::Tls(i, n), &to.destination))
        });
    let tcp =
        spec.tcp.iter().enumerate().flat_map(|(i, route)| {
            route.route.iter().enumerate().map(move |(n, to)| (Place::Tcp(i, n), &to.destination))
        });
    http.chain(tls).chain(tcp)
}
