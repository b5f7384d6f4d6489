//! Changes to headers, gathered first and made while the head is written.

use std::borrow::Cow;

use lateen_proxy_core::format::Operators;
use lateen_proxy_core::header_ops::{Append, HeaderOps};
use smallvec::SmallVec;

use super::head::{Headers, is_hop};

/// A header's name and value.
type Header<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// Changes to the headers of one message.
#[derive(Default)]
pub struct Edits<'a> {
    hidden: SmallVec<[Cow<'a, str>; 8]>,
    added: SmallVec<[Header<'a>; 8]>,
    /// New authority.
    pub authority: Option<Cow<'a, str>>,
    /// New path.
    pub path: Option<Cow<'a, str>>,
    /// New method.
    pub method: Option<Cow<'a, str>>,
}

impl<'a> Edits<'a> {
    /// Leaves a header out.
    pub fn remove(&mut self, name: impl Into<Cow<'a, str>>) {
        let name = name.into();
        self.added.retain(|(added, _)| *added != name);
        if !self.hidden.contains(&name) {
            self.hidden.push(name);
        }
    }

    /// Gives a header this value only.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        let name = name.into();
        self.remove(name.clone());
        self.added.push((name, value.into()));
    }

    /// Gives a header this value too.
    pub fn add(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.added.push((name.into(), value.into()));
    }

    /// Whether the header is left out of what was received.
    pub fn hides(&self, name: &str) -> bool {
        self.hidden.iter().any(|hidden| hidden == name)
    }

    /// Whether a header that was received is passed on.
    pub fn keeps(&self, name: &str) -> bool {
        !is_hop(name) && !self.hides(name)
    }

    /// The last value given to a header here.
    pub fn added(&self, name: &str) -> Option<&[u8]> {
        self.added.iter().rev().find(|(added, _)| added == name).map(|(_, value)| &**value)
    }

    /// Every header given here.
    pub fn each_added(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.added.iter().map(|(name, value)| (&**name, &**value))
    }

    fn present(&self, source: &dyn Headers, name: &str) -> bool {
        self.added(name).is_some() || (!self.hides(name) && source.has(name))
    }

    /// Makes the changes that configuration asks for.
    pub fn apply(&mut self, ops: &'a HeaderOps, source: &dyn Headers, operators: &dyn Operators) {
        for name in &ops.remove {
            self.remove(&**name);
        }
        for write in &ops.write {
            let value = write.value.render(operators, "");
            if value.is_empty() && !write.keep_empty {
                continue;
            }
            match &*write.name {
                ":authority" | "host" => self.authority = Some(value),
                ":path" => self.path = Some(value),
                ":method" => self.method = Some(value),
                name => self.write(name, bytes(value), write.append, source),
            }
        }
    }

    fn write(&mut self, name: &'a str, value: Cow<'a, [u8]>, append: Append, source: &dyn Headers) {
        match append {
            Append::Append => self.add(name, value),
            Append::Overwrite => self.set(name, value),
            Append::IfAbsent if !self.present(source, name) => self.add(name, value),
            Append::OverwriteIfPresent if self.present(source, name) => self.set(name, value),
            Append::IfAbsent | Append::OverwriteIfPresent => {}
        }
    }

    /// Calls `f` with every header as it is to be sent, apart from those of one connection.
    pub fn each(&self, source: &dyn Headers, f: &mut dyn FnMut(&str, &[u8])) {
        source.each(&mut |name, value| {
            if self.keeps(name) {
                f(name, value);
            }
        });
        for (name, value) in self.each_added() {
            f(name, value);
        }
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn result(edits: &Edits<'_>, source: &HeaderMap) -> Vec<String> {
        let mut out = Vec::new();
        edits.each(source, &mut |name, value| out.push(format!("{name}={}", String::from_utf8_lossy(value))));
        out
    }

    #[test]
    fn changes_are_made_in_order() {
        let mut source = HeaderMap::new();
        source.insert("a", "1".parse().expect("value"));
        source.insert("b", "2".parse().expect("value"));
        source.insert("connection", "close".parse().expect("value"));
        let mut edits = Edits::default();
        edits.remove("a");
        edits.add("b", &b"3"[..]);
        edits.set("c", &b"4"[..]);
        edits.set("c", &b"5"[..]);
        assert_eq!(result(&edits, &source), ["b=2", "b=3", "c=5"]);
        edits.remove("b");
        assert_eq!(result(&edits, &source), ["c=5"]);
    }
}
