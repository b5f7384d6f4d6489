//! Conditions on strings.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Longest regular expression that is accepted, in bytes.
pub const MAX_REGEX: usize = 1024;
/// Largest compiled expression that is accepted, in bytes.
const MAX_PROGRAM: usize = 1 << 20;

/// Why a regular expression is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadRegex {
    /// Longer than [`MAX_REGEX`].
    #[error("the regular expression is {0} bytes long; at most {MAX_REGEX} are allowed")]
    TooLong(usize),
    /// Not an RE2 expression.
    #[error("not a valid RE2 regular expression: {0}")]
    Invalid(String),
}

/// A condition on a string.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// Is this text.
    Exact(String),
    /// Begins with this text.
    Prefix(String),
    /// Ends with this text.
    Suffix(String),
    /// Has this text somewhere.
    Contains(String),
    /// Matches the expression as a whole.
    Regex(Regex),
}

impl StringMatch {
    /// A condition by a regular expression that must match the whole string.
    pub fn regex(pattern: &str) -> Result<Self, BadRegex> {
        full_match(pattern).map(Self::Regex)
    }

    /// Does `text` fulfil the condition.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(want) => text == want,
            Self::Prefix(want) => text.starts_with(want.as_str()),
            Self::Suffix(want) => text.ends_with(want.as_str()),
            Self::Contains(want) => text.contains(want.as_str()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// As [`StringMatch::matches`], without regard to ASCII case; expressions stay as they are.
    pub fn matches_ignore_case(&self, text: &str) -> bool {
        match self {
            Self::Exact(want) => text.eq_ignore_ascii_case(want),
            Self::Prefix(want) => text.get(..want.len()).is_some_and(|t| t.eq_ignore_ascii_case(want)),
            Self::Suffix(want) => text
                .len()
                .checked_sub(want.len())
                .and_then(|at| text.get(at..))
                .is_some_and(|t| t.eq_ignore_ascii_case(want)),
            Self::Contains(want) => text.to_ascii_lowercase().contains(&want.to_ascii_lowercase()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Compiles `pattern` so that it matches whole strings only, with limits.
pub fn full_match(pattern: &str) -> Result<Regex, BadRegex> {
    if pattern.len() > MAX_REGEX {
        return Err(BadRegex::TooLong(pattern.len()));
    }
    // The pattern is checked alone first, so that it cannot close the group that anchors it.
    regex_syntax::parse(pattern).map_err(|e| BadRegex::Invalid(e.to_string()))?;
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PROGRAM)
        .dot_matches_new_line(false)
        .build()
        .map_err(|e| BadRegex::Invalid(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_matches_its_way() {
        let regex = StringMatch::regex("a+b").expect("compiles");
        for (condition, text, expect) in [
            (StringMatch::Exact("a".into()), "a", true),
            (StringMatch::Exact("a".into()), "ab", false),
            (StringMatch::Prefix("/api".into()), "/apis", true),
            (StringMatch::Suffix(".js".into()), "x.js", true),
            (StringMatch::Contains("b".into()), "abc", true),
            (regex.clone(), "aab", true),
            (regex, "aabc", false),
        ] {
            assert_eq!(condition.matches(text), expect, "{condition:?} {text}");
        }
    }

    #[test]
    fn case_can_be_ignored() {
        assert!(StringMatch::Prefix("/API".into()).matches_ignore_case("/api/x"));
        assert!(StringMatch::Suffix("é".into()).matches_ignore_case("xé"));
        assert!(!StringMatch::Prefix("abc".into()).matches_ignore_case("éb"));
    }

    #[test]
    fn bad_expressions_are_refused() {
        for pattern in ["(", "a)(b", "(?=x)", &"a".repeat(1025), "(a{1000}){1000}"] {
            assert!(StringMatch::regex(pattern).is_err(), "{pattern}");
        }
    }
}
