//! A request's head as filters in front of the router changed it.

use std::borrow::Cow;

use lateen_proxy_core::RequestHead;
use lateen_proxy_core::head::join;
use lateen_proxy_core::jwt::Passed;
use serde_json::{Map, Value};

use super::head::{Headers, Request, is_hop};

/// A request's head, and what filters changed in it.
pub struct Amended<'h> {
    head: &'h dyn Request,
    removed: Vec<Box<str>>,
    added: Vec<(Box<str>, Vec<u8>)>,
    path: Option<String>,
    claims: Map<String, Value>,
}

impl<'h> Amended<'h> {
    /// Nothing changed yet.
    pub fn new(head: &'h dyn Request) -> Self {
        Self { head, removed: Vec::new(), added: Vec::new(), path: None, claims: Map::new() }
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        if is_hop(name) || name.starts_with(':') || name == "host" {
            return;
        }
        self.added.retain(|(added, _)| **added != *name);
        if !self.hides(name) {
            self.removed.push(name.into());
        }
    }

    /// Gives a header this value too.
    pub fn add(&mut self, name: &str, value: Vec<u8>) {
        if !is_hop(name) && !name.starts_with(':') && name != "host" {
            self.added.push((name.into(), value));
        }
    }

    /// Gives a header this value only.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        self.remove(name);
        self.add(name, value);
    }

    /// Makes the changes of tokens.
    pub fn authenticated(&mut self, passed: Passed) {
        for name in &passed.removed {
            self.remove(name);
        }
        for (name, value) in passed.added {
            self.add(&name, value);
        }
        self.path = passed.path.or(self.path.take());
        self.claims.extend(passed.claims);
    }

    fn hides(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| **removed == *name)
    }
}

impl RequestHead for Amended<'_> {
    fn method(&self) -> &str {
        self.head.method()
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.head.path())
    }

    fn authority(&self) -> &str {
        self.head.authority()
    }

    fn scheme(&self) -> &str {
        self.head.scheme()
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let before = if self.hides(name) { None } else { self.head.header(name) };
        let added = join(self.added.iter().filter(|(added, _)| **added == *name).map(|(_, value)| value.as_slice()));
        match (before, added) {
            (Some(before), Some(added)) => Some(Cow::Owned([&*before, b",", &*added].concat())),
            (before, added) => before.or(added),
        }
    }

    fn claims(&self) -> Option<&Map<String, Value>> {
        Some(&self.claims)
    }
}

impl Headers for Amended<'_> {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        self.head.each(&mut |name, value| {
            if !self.hides(name) {
                f(name, value);
            }
        });
        for (name, value) in &self.added {
            f(name, value);
        }
    }

    fn has(&self, name: &str) -> bool {
        (self.head.has(name) && !self.hides(name)) || self.added.iter().any(|(added, _)| **added == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_show_wherever_the_head_is_read() {
        let mut bare = http::HeaderMap::new();
        bare.insert("authorization", "Bearer x".parse().expect("value"));
        bare.insert("x-user", "forged".parse().expect("value"));
        let head = Bare(bare);
        let mut amended = Amended::new(&head);
        amended.authenticated(Passed {
            removed: vec!["authorization".into(), "x-user".into()],
            added: vec![("x-user".into(), b"me".to_vec())],
            path: Some("/a".into()),
            ..Passed::default()
        });
        amended.set(":path", b"/evil".to_vec());
        amended.add("transfer-encoding", b"chunked".to_vec());
        assert_eq!(amended.header("authorization"), None);
        assert_eq!(amended.header("x-user").as_deref(), Some(&b"me"[..]));
        assert_eq!(amended.path(), "/a");
        let mut seen = Vec::new();
        amended.each(&mut |name, value| seen.push(format!("{name}={}", String::from_utf8_lossy(value))));
        assert_eq!(seen, ["x-user=me"]);
        assert!(!amended.has("authorization") && amended.has("x-user"));
    }

    struct Bare(http::HeaderMap);

    impl RequestHead for Bare {
        fn method(&self) -> &str {
            "GET"
        }
        fn path(&self) -> &str {
            "/a?access_token=x"
        }
        fn authority(&self) -> &str {
            "web"
        }
        fn scheme(&self) -> &str {
            "http"
        }
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            join(self.0.get_all(name).iter().map(|value| value.as_bytes()))
        }
    }

    impl Headers for Bare {
        fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
            self.0.each(f);
        }
    }
}
