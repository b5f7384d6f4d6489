//! Conditions on headers and query parameters.

use std::ops::Range;

use crate::head::RequestHead;
use crate::pattern::StringMatch;

/// What a header's value must be.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// Present (or absent, when false).
    Present(bool),
    /// Looks so.
    String(StringMatch),
    /// A decimal integer in the range.
    Range(Range<i64>),
}

/// A condition on one header.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    /// Lower-case name, or a pseudo-header.
    pub name: Box<str>,
    /// What its value must be.
    pub value: ValueMatch,
    /// Turn the answer round.
    pub invert: bool,
    /// Treat a missing header as an empty one.
    pub missing_is_empty: bool,
}

impl HeaderMatch {
    /// Whether the request's headers meet the condition.
    pub fn matches(&self, head: &(impl RequestHead + ?Sized)) -> bool {
        self.matches_value(head.lookup(&self.name).as_deref())
    }

    /// Whether a header with this value (`None`: missing) meets the condition.
    pub fn matches_value(&self, value: Option<&[u8]>) -> bool {
        if let ValueMatch::Present(want) = self.value {
            let present = value.is_some() || self.missing_is_empty;
            return (present == want) != self.invert;
        }
        let empty: &[u8] = b"";
        match value.or(self.missing_is_empty.then_some(empty)) {
            // A missing header meets a condition on its value, even an inverted one, only when it counts as empty.
            None => false,
            Some(value) => self.value_matches(value) != self.invert,
        }
    }

    fn value_matches(&self, value: &[u8]) -> bool {
        match &self.value {
            ValueMatch::Present(want) => *want,
            ValueMatch::String(matcher) => matcher.matches(value),
            ValueMatch::Range(range) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| range.contains(&number)),
        }
    }
}

/// A condition on one query parameter.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    /// Name of the parameter.
    pub name: Box<str>,
    /// What its value must be; any when `None`.
    pub value: Option<StringMatch>,
}

impl QueryMatch {
    /// Whether the query meets the condition; the first parameter of the name counts.
    pub fn matches(&self, query: Option<&str>) -> bool {
        let Some(value) = query_value(query.unwrap_or_default(), &self.name) else {
            return false;
        };
        self.value.as_ref().is_none_or(|matcher| matcher.matches(value.as_bytes()))
    }
}

/// The value of the first parameter `name`.
pub fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name && !pair.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::SimpleHead;

    fn header(value: ValueMatch, invert: bool, missing_is_empty: bool) -> HeaderMatch {
        HeaderMatch { name: "x-user".into(), value, invert, missing_is_empty }
    }

    #[test]
    fn headers_match_as_envoy_does() {
        let jason = SimpleHead::get("a", "/").with("x-user", "jason");
        let none = SimpleHead::get("a", "/");
        let exact = || ValueMatch::String(StringMatch::Exact("jason".into()));
        for (matcher, with, without) in [
            (header(exact(), false, false), true, false),
            (header(exact(), true, false), false, false),
            (header(exact(), true, true), false, true),
            (header(ValueMatch::Present(true), false, false), true, false),
            (header(ValueMatch::Present(false), false, false), false, true),
            (header(ValueMatch::Present(true), true, false), false, true),
            (header(ValueMatch::String(StringMatch::Exact("".into())), false, true), false, true),
        ] {
            assert_eq!(matcher.matches(&jason), with, "{matcher:?} with");
            assert_eq!(matcher.matches(&none), without, "{matcher:?} without");
        }
    }

    #[test]
    fn query_parameters_match_by_first_value() {
        let want = |value: Option<&str>| QueryMatch {
            name: "a".into(),
            value: value.map(|value| StringMatch::Exact(value.into())),
        };
        assert!(want(Some("1")).matches(Some("b=2&a=1&a=3")));
        assert!(!want(Some("3")).matches(Some("b=2&a=1&a=3")));
        assert!(want(None).matches(Some("a")));
        assert!(want(Some("")).matches(Some("a=")));
        assert!(!want(None).matches(None));
    }
}
