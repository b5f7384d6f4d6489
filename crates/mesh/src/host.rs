//! Host names, possibly with a wildcard as first label.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A host name in lower case: `reviews.default.svc.cluster.local`, `*.example.com` or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hostname(String);

impl Hostname {
    /// A host name from text; only case is changed.
    pub fn new(name: &str) -> Self {
        Self(name.to_ascii_lowercase())
    }

    /// Completes a short name with the namespace and domain it was written in. Names with a dot, wildcards and
    /// addresses stay as they are.
    pub fn resolve(name: &str, namespace: &str, domain: &str) -> Self {
        if name.is_empty() || name.contains(['.', '*', ':']) || namespace.is_empty() {
            return Self::new(name);
        }
        Self::new(&format!("{name}.{namespace}.svc.{domain}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it `*` or `*.something`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Do the names that `self` and `other` stand for have any in common.
    pub fn matches(&self, other: &Hostname) -> bool {
        match (self.wildcard_suffix(), other.wildcard_suffix()) {
            (None, None) => self.0 == other.0,
            (Some(a), None) => other.0.ends_with(a),
            (None, Some(b)) => self.0.ends_with(b),
            (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        }
    }

    /// Does `self` stand for every name that `other` stands for.
    pub fn covers(&self, other: &Hostname) -> bool {
        match (self.wildcard_suffix(), other.wildcard_suffix()) {
            (None, None) => self.0 == other.0,
            (None, Some(_)) => false,
            (Some(a), None) => other.0.ends_with(a),
            (Some(a), Some(b)) => b.ends_with(a),
        }
    }

    /// Orders the more specific name first: plain names before wildcards, then long before short, then by name.
    pub fn by_specificity(&self, other: &Hostname) -> Ordering {
        (self.is_wildcard(), std::cmp::Reverse(self.0.len()), &self.0).cmp(&(
            other.is_wildcard(),
            std::cmp::Reverse(other.0.len()),
            &other.0,
        ))
    }

    fn wildcard_suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Hostname {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl std::borrow::Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The most specific of `candidates` that covers `host`.
pub fn most_specific<'a>(host: &Hostname, candidates: impl IntoIterator<Item = &'a Hostname>) -> Option<&'a Hostname> {
    candidates.into_iter().filter(|c| c.covers(host)).min_by(|a, b| a.by_specificity(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Hostname {
        Hostname::new(name)
    }

    #[test]
    fn wildcards_match_names_that_end_alike() {
        for (a, b, expect) in [
            ("foo.com", "foo.com", true),
            ("foo.com", "bar.com", false),
            ("*.com", "foo.com", true),
            ("*.com", "*.foo.com", true),
            ("*.foo.com", "*.com", true),
            ("*.foo.com", "foo.com", false),
            ("*", "anything", true),
        ] {
            assert_eq!(host(a).matches(&host(b)), expect, "{a} {b}");
        }
    }

    #[test]
    fn a_name_covers_only_what_it_stands_for() {
        for (a, b, expect) in [
            ("*.com", "*.foo.com", true),
            ("*.foo.com", "*.com", false),
            ("foo.com", "*.com", false),
            ("*", "*.a", true),
        ] {
            assert_eq!(host(a).covers(&host(b)), expect, "{a} {b}");
        }
    }

    #[test]
    fn the_most_specific_candidate_wins() {
        let all = [host("*"), host("*.com"), host("*.foo.com"), host("a.foo.com")];
        for (name, expect) in [("a.foo.com", Some(3)), ("b.foo.com", Some(2)), ("x.com", Some(1)), ("x.org", Some(0))] {
            assert_eq!(most_specific(&host(name), &all), expect.map(|i: usize| &all[i]), "{name}");
        }
    }

    #[test]
    fn short_names_are_completed() {
        for (name, expect) in [
            ("reviews", "reviews.ns.svc.cluster.local"),
            ("reviews.other", "reviews.other"),
            ("*", "*"),
            ("1.2.3.4", "1.2.3.4"),
            ("fe80::1", "fe80::1"),
        ] {
            assert_eq!(Hostname::resolve(name, "ns", "cluster.local").as_str(), expect);
        }
    }
}
