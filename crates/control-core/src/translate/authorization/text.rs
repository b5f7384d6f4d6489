//! How Istio's patterns (`text`, `text*`, `*text`, `*`) are written for Envoy.

use lateen_api::envoy::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use lateen_api::envoy::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

/// A pattern, compared as it is.
pub fn pattern(text: &str) -> StringMatcher {
    prefixed("", text)
}

/// A pattern for what stands behind `prefix`.
pub fn prefixed(prefix: &str, text: &str) -> StringMatcher {
    if text == "*" {
        return regex(".+".to_owned());
    }
    matcher(match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(end), _) if prefix.is_empty() => MatchPattern::Suffix(end.to_owned()),
        (Some(end), _) => return regex(format!("{prefix}.*{}", quoted(end))),
        (None, Some(start)) => MatchPattern::Prefix(format!("{prefix}{start}")),
        (None, None) => MatchPattern::Exact(format!("{prefix}{text}")),
    })
}

/// Equal to this text.
pub fn exact(text: &str) -> StringMatcher {
    matcher(MatchPattern::Exact(text.to_owned()))
}

/// Begins with this text.
pub fn starting(text: String) -> StringMatcher {
    matcher(MatchPattern::Prefix(text))
}

/// Matches this expression as a whole.
pub fn regex(regex: String) -> StringMatcher {
    matcher(MatchPattern::SafeRegex(RegexMatcher { regex, ..Default::default() }))
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// A header that looks as the pattern says.
pub fn header(name: &str, text: &str, ignore_case: bool) -> HeaderMatcher {
    let how = match text {
        "*" => HeaderMatchSpecifier::PresentMatch(true),
        _ => HeaderMatchSpecifier::StringMatch(StringMatcher { ignore_case, ..pattern(text) }),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(how), ..Default::default() }
}

/// A text as part of a regular expression; `*` becomes `any`.
pub fn wildcards(text: &str, any: &str) -> String {
    text.split('*').map(quoted).collect::<Vec<_>>().join(any)
}

/// A text as part of a regular expression.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
