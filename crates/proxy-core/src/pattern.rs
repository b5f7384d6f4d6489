//! Regular expressions in RE2's dialect and string matchers.

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

/// Longest pattern accepted.
const MAX_PATTERN: usize = 4096;
/// Compiled size above which a pattern is refused.
const MAX_PROGRAM: usize = 1 << 20;
/// Memory that one thread's lazy automaton may use.
const CACHE: usize = 64 << 10;

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than any sensible pattern.
    #[error("regular expression is longer than {MAX_PATTERN} bytes: shorten it")]
    TooLong,
    /// Not RE2's syntax, or too large once compiled.
    #[error("regular expression {pattern:?} is not valid: {reason}")]
    Invalid {
        /// The pattern as given.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
}

/// A regular expression that must match all of the text.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<str>,
    whole: Regex,
}

impl Pattern {
    /// Compiles `pattern`, written in RE2's dialect.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let whole = compile(pattern, &format!(r"\A(?:{})\z", translate(pattern)))?;
        Ok(Self { source: pattern.into(), whole })
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.whole.is_match(text)
    }

    /// The pattern as given.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A regular expression and what replaces its matches.
#[derive(Debug, Clone)]
pub struct Substitution {
    pattern: Regex,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl Substitution {
    /// Compiles; `\1` to `\9` in `replacement` stand for groups, `\0` for the whole match.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, PatternError> {
        let compiled = compile(pattern, &translate(pattern))?;
        let pieces = pieces(replacement);
        let groups = compiled.group_info().group_len(regex_automata::PatternID::ZERO);
        if pieces.iter().any(|piece| matches!(piece, Piece::Group(group) if *group >= groups)) {
            return Err(PatternError::Invalid {
                pattern: pattern.into(),
                reason: format!("the replacement {replacement:?} names a group that the pattern lacks"),
            });
        }
        Ok(Self { pattern: compiled, pieces })
    }

    /// Replaces every match in `text`.
    pub fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut last = 0;
        for captures in self.pattern.captures_iter(text) {
            let Some(whole) = captures.get_match() else {
                continue;
            };
            out.push_str(text.get(last..whole.start()).unwrap_or_default());
            for piece in &self.pieces {
                match piece {
                    Piece::Text(literal) => out.push_str(literal),
                    Piece::Group(group) => {
                        let span = captures.get_group(*group);
                        out.push_str(span.and_then(|span| text.get(span.start..span.end)).unwrap_or_default());
                    }
                }
            }
            last = whole.end();
        }
        out.push_str(text.get(last..).unwrap_or_default());
        out
    }
}

fn pieces(replacement: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(digit as usize - '0' as usize));
            }
            ('\\', Some('\\')) => {
                chars.next();
                literal.push('\\');
            }
            _ => literal.push(c),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    pieces
}

fn compile(source: &str, translated: &str) -> Result<Regex, PatternError> {
    if source.len() > MAX_PATTERN {
        return Err(PatternError::TooLong);
    }
    Regex::builder()
        .configure(Config::new().nfa_size_limit(Some(MAX_PROGRAM)).hybrid_cache_capacity(CACHE).dfa(false))
        .syntax(syntax::Config::new().utf8(false))
        .build(translated)
        .map_err(|error| PatternError::Invalid {
            pattern: source.into(),
            reason: error.syntax_error().map_or_else(|| error.to_string(), |e| last_line(&e.to_string())),
        })
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").into()
}

/// Rewrites RE2's dialect to this engine's: ASCII classes, literal `[`, `&&`, `--` and `~~` inside classes, `\Q…\E`.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if in_class && !after.starts_with(':') => {
                out.push_str(r"\[");
                after
            }
            '[' if in_class => {
                let end = after.find(":]").map_or(0, |end| end + 2);
                out.push('[');
                out.push_str(&after[..end]);
                &after[end..]
            }
            '[' => {
                in_class = true;
                out.push('[');
                class_start(after, &mut out)
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            '-' if in_class && after.starts_with('-') => {
                out.push_str(r"\-");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// After `[`: a `^`, and a `]` that stands for itself when it comes first.
fn class_start<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = after;
    }
    rest
}

/// After a backslash; returns what is left to read.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    match c {
        'Q' => {
            let (literal, rest) = after.split_once(r"\E").unwrap_or((after, ""));
            out.push_str(&regex_syntax_escape(literal));
            return rest;
        }
        'd' => out.push_str(&format!("{open}0-9{close}")),
        'w' => out.push_str(&format!("{open}0-9A-Za-z_{close}")),
        's' => out.push_str(&format!(r"{open}\t\n\f\r {close}")),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'b' | 'B' if !in_class => out.push_str(&format!(r"(?-u:\{c})")),
        'C' => out.push_str("(?s-u:.)"),
        '<' | '>' => out.push(c),
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    after
}

fn regex_syntax_escape(literal: &str) -> String {
    let mut out = String::with_capacity(literal.len());
    for c in literal.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// How a text must look.
#[derive(Debug, Clone)]
pub enum StringMatch {
    /// Equal.
    Exact(Box<str>),
    /// Begins with.
    Prefix(Box<str>),
    /// Ends with.
    Suffix(Box<str>),
    /// Holds.
    Contains(Box<str>),
    /// Matches as a whole.
    Regex(Pattern),
    /// As the inner one (which is lower case), whatever the case.
    IgnoreCase(Box<StringMatch>),
}

impl StringMatch {
    /// Whether `text` looks so.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(want) => text == want.as_bytes(),
            Self::Prefix(want) => text.starts_with(want.as_bytes()),
            Self::Suffix(want) => text.ends_with(want.as_bytes()),
            Self::Contains(want) => contains(text, want.as_bytes()),
            Self::Regex(pattern) => pattern.matches(text),
            Self::IgnoreCase(inner) => inner.matches(&text.to_ascii_lowercase()),
        }
    }
}

fn contains(text: &[u8], want: &[u8]) -> bool {
    want.is_empty() || text.windows(want.len()).any(|window| window == want)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_re2_does() {
        let cases: &[(&str, &str, bool)] = &[
            ("/v[0-9]+", "/v12", true),
            ("/v[0-9]+", "/v12/x", false),
            (r"\d+", "١٢", false),
            (r"\d+", "12", true),
            (r"[\w.]+", "a_b.c", true),
            (r"[[:alpha:]]+", "abc", true),
            (r"[a[]+", "a[", true),
            (r"[a&&b]+", "a&b", true),
            (r"[]a]+", "]a", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            ("(?i)HeLLo", "hello", true),
            ("a|b", "ab", false),
            (".*", "", true),
            (r"[^\d]+", "abc", true),
        ];
        for (pattern, text, expect) in cases {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.matches(text.as_bytes()), *expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        for pattern in ["a(", "[a", "a{1001}{1001}{1001}", r"(?=a)"] {
            let error = Pattern::new(pattern).expect_err(pattern).to_string();
            assert!(error.contains("is not valid"), "{error}");
        }
    }

    #[test]
    fn substitutions_use_groups() {
        let rewrite = Substitution::new("^/service/([^/]+)(/.*)$", r"\2/instance/\1").expect("valid");
        assert_eq!(rewrite.apply("/service/foo/v1/api"), "/v1/api/instance/foo");
        assert!(Substitution::new("a", r"\1").is_err());
        assert_eq!(
            Substitution::new("one", "two").expect("valid").apply("/xxx/one/yyy/one/zzz"),
            "/xxx/two/yyy/two/zzz"
        );
    }
}
