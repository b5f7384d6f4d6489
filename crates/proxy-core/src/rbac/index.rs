//! Which policies can match at all: most name the principals or paths that they are for, so that a request meets only
//! those of its own, however many there are.

use std::collections::HashMap;

use super::matcher::Matcher;
use super::request::Request;

type ByText = HashMap<Box<str>, Vec<usize>>;

/// Policies by what they need.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    principals: ByText,
    paths: ByText,
    others: Vec<usize>,
}

impl Index {
    /// Sorts policies, given by permission and principal.
    pub(super) fn new<'m>(policies: impl Iterator<Item = (&'m Matcher, &'m Matcher)>) -> Self {
        let mut index = Self::default();
        for (at, (permission, principal)) in policies.enumerate() {
            let by_principal = principal.needs_principal().map(|names| (&mut index.principals, names));
            match by_principal.or_else(|| permission.needs_path().map(|paths| (&mut index.paths, paths))) {
                Some((by_text, texts)) => {
                    texts.into_iter().for_each(|text| by_text.entry(text.into()).or_default().push(at));
                }
                None => index.others.push(at),
            }
        }
        index
    }

    /// The first policy that `matches`, among those that can.
    pub(super) fn find(&self, request: &Request<'_>, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best = None;
        let mut look = |list: &[usize]| {
            let earlier = list.iter().copied().take_while(|at| best.is_none_or(|best| *at < best));
            best = earlier.into_iter().find(|at| matches(*at)).or(best);
        };
        if !self.principals.is_empty() {
            let names = request.peer.iter().flat_map(|peer| peer.names());
            names.filter_map(|name| self.principals.get(name)).for_each(|list| look(list));
        }
        if let Some(list) = request.path().and_then(|path| self.paths.get(path)) {
            look(list);
        }
        look(&self.others);
        best
    }
}
