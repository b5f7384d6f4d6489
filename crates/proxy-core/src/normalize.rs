//! Paths made unambiguous before anything decides on them, as Envoy's `normalize_path`, `merge_slashes` and
//! `path_with_escaped_slashes_action` do.

use std::borrow::Cow;

use crate::http::EscapedSlashes;

/// What is done to paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Normalization {
    /// Backslashes become slashes, needless escapes go, dot segments are resolved.
    pub dots: bool,
    /// Several slashes become one.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normalized<'p> {
    /// Go on with this one.
    Path(Cow<'p, str>),
    /// Send the client there.
    Redirect(String),
    /// Refuse the request with 400; the text says why.
    Refused(&'static str),
}

/// Normalizes a path with its query. A fragment is dropped in every mode; the query is left as it is.
#[must_use]
pub fn normalize(path: &str, how: Normalization) -> Normalized<'_> {
    let path = path.find('#').map_or(path, |end| &path[..end]);
    if !path.starts_with('/') {
        return Normalized::Path(Cow::Borrowed(path));
    }
    let (only, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    if how.dots && contains_escape(only, &["00"]) {
        return Normalized::Refused("the path contains %00");
    }
    if is_plain(only) {
        return Normalized::Path(Cow::Borrowed(path));
    }
    let slashes = contains_escape(only, &["2f", "5c"]);
    let unescape = match how.escaped_slashes {
        EscapedSlashes::Reject if slashes => return Normalized::Refused("the path contains an escaped slash"),
        EscapedSlashes::UnescapeAndForward | EscapedSlashes::UnescapeAndRedirect => slashes,
        EscapedSlashes::Keep | EscapedSlashes::Reject => false,
    };
    let mut new = if unescape { unescape_slashes(only) } else { only.to_owned() };
    if how.dots {
        new = resolve_dots(&unescape_unreserved(&new.replace('\\', "/")));
    }
    if how.merge_slashes {
        new = merge(&new);
    }
    if new == only {
        return Normalized::Path(Cow::Borrowed(path));
    }
    new.push_str(query);
    match how.escaped_slashes {
        EscapedSlashes::UnescapeAndRedirect if unescape => Normalized::Redirect(new),
        _ => Normalized::Path(Cow::Owned(new)),
    }
}

/// Nothing in it that any mode would touch; true of almost every path.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\'))
        && !bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn contains_escape(path: &str, codes: &[&str]) -> bool {
    escapes(path).any(|(_, code)| codes.iter().any(|wanted| code.eq_ignore_ascii_case(wanted)))
}

/// Position and hexadecimal digits of every escape.
fn escapes(path: &str) -> impl Iterator<Item = (usize, &str)> {
    path.match_indices('%').filter_map(|(at, _)| {
        let code = path.get(at + 1..at + 3)?;
        code.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((at, code))
    })
}

fn replace_escapes(path: &str, replacement: impl Fn(u8) -> Option<char>) -> String {
    let mut new = String::with_capacity(path.len());
    let mut copied = 0;
    for (at, code) in escapes(path) {
        if let Some(plain) = u8::from_str_radix(code, 16).ok().and_then(&replacement) {
            new.push_str(&path[copied..at]);
            new.push(plain);
            copied = at + 3;
        }
    }
    new.push_str(&path[copied..]);
    new
}

fn unescape_slashes(path: &str) -> String {
    replace_escapes(path, |byte| match byte {
        b'/' => Some('/'),
        b'\\' => Some('\\'),
        _ => None,
    })
}

/// Escapes of characters that need none (RFC 3986 section 2.3) become those characters.
fn unescape_unreserved(path: &str) -> String {
    replace_escapes(path, |byte| (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(char::from(byte)))
}

/// Resolves `.` and `..` segments (RFC 3986 section 5.2.4).
fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open_end = false;
    for segment in path[1..].split('/') {
        open_end = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut new = String::with_capacity(path.len());
    for segment in &kept {
        new.push('/');
        new.push_str(segment);
    }
    if open_end || kept.is_empty() {
        new.push('/');
    }
    new
}

fn merge(path: &str) -> String {
    let mut new = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !new.ends_with('/') {
            new.push(char);
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Normalization =
        Normalization { dots: true, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };

    fn path(path: &str, how: Normalization) -> String {
        match normalize(path, how) {
            Normalized::Path(path) => path.into_owned(),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn dots_backslashes_and_needless_escapes_go() {
        for (before, after) in [
            ("/", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/%61%2e%2E/%41", "/a../A"),
            ("/a\\b", "/a/b"),
            ("/a//b", "/a//b"),
            ("/a?x=/../%61", "/a?x=/../%61"),
            ("/a/../b?x=..#frag", "/b?x=.."),
            ("/a%2fb", "/a%2fb"),
            ("/%zz%", "/%zz%"),
            ("*", "*"),
        ] {
            assert_eq!(path(before, BASE), after, "{before}");
        }
    }

    #[test]
    fn slashes_merge_only_when_asked_and_never_in_the_query() {
        let merging = Normalization { merge_slashes: true, ..BASE };
        assert_eq!(path("/a///b?c=//", merging), "/a/b?c=//");
        assert_eq!(path("/a///b", BASE), "/a///b");
    }

    #[test]
    fn escaped_slashes_follow_their_setting() {
        let with = |escaped_slashes| Normalization { escaped_slashes, ..BASE };
        assert_eq!(path("/a%2F../b", with(EscapedSlashes::UnescapeAndForward)), "/b");
        assert_eq!(normalize("/a%5cb", with(EscapedSlashes::UnescapeAndRedirect)), Normalized::Redirect("/a/b".into()));
        assert!(matches!(normalize("/a%2fb", with(EscapedSlashes::Reject)), Normalized::Refused(_)));
    }

    #[test]
    fn a_nul_is_refused() {
        assert!(matches!(normalize("/a%00b", BASE), Normalized::Refused(_)));
    }
}
