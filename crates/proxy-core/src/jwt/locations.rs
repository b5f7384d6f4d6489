//! Where requests carry tokens.

use std::borrow::Cow;

use crate::head::RequestHead;

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// In a header, behind a prefix that may be empty.
    Header {
        /// Lower case.
        name: Box<str>,
        /// Stands anywhere in front of the token.
        prefix: Box<str>,
    },
    /// In a query parameter.
    Parameter(Box<str>),
    /// In a cookie.
    Cookie(Box<str>),
}

impl Location {
    /// The places for those who name none.
    pub fn usual() -> Vec<Self> {
        let bearer = Self::Header { name: "authorization".into(), prefix: "Bearer ".into() };
        vec![bearer, Self::Parameter("access_token".into())]
    }

    /// The token at this place.
    pub(super) fn token(&self, head: &dyn RequestHead) -> Option<String> {
        match self {
            Self::Header { name, prefix } => {
                let value = head.lookup(name)?;
                let text = std::str::from_utf8(&value).ok()?;
                if prefix.is_empty() {
                    return Some(text.to_owned());
                }
                let (_, rest) = text.split_once(&**prefix)?;
                Some(within(rest).unwrap_or(text).to_owned())
            }
            Self::Parameter(name) => {
                let mut pairs = head.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                pairs.find(|(key, _)| decoded(key) == **name).map(|(_, value)| decoded(value).into_owned())
            }
            Self::Cookie(name) => {
                let cookies = head.header("cookie")?;
                let text = std::str::from_utf8(&cookies).ok()?;
                let pairs = text.split([';', ',']).filter_map(|pair| pair.trim().split_once('='));
                let (_, value) = pairs.into_iter().find(|(key, _)| *key == &**name)?;
                Some(value.trim_matches('"').to_owned())
            }
        }
    }
}

/// The characters of a token at the beginning of a text, blanks and the like in front left out.
fn within(text: &str) -> Option<&str> {
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '.');
    let begun = &text[text.find(of_token)?..];
    Some(begun.split(|c| !of_token(c)).next().unwrap_or_default())
}

/// The path without the parameter.
pub(super) fn without(path: &str, name: &str) -> String {
    let (path, fragment) = path.split_at(path.find('#').unwrap_or(path.len()));
    let Some((path, query)) = path.split_once('?') else { return format!("{path}{fragment}") };
    let key = |pair: &&str| pair.split('=').next().map(decoded).is_some_and(|key| key != name);
    let rest = query.split('&').filter(key).collect::<Vec<_>>().join("&");
    if rest.is_empty() { format!("{path}{fragment}") } else { format!("{path}?{rest}{fragment}") }
}

/// Percent-decoded.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let hex = |at: usize| text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match hex(at).filter(|_| *byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}
