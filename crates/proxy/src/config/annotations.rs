//! Labels and annotations as the downward API writes them: one `key="value"` in each line, quoted as in Go.

use std::collections::BTreeMap;
use std::path::Path;

/// Reads such a file; a missing one has none.
pub(super) fn read(path: &Path) -> BTreeMap<String, String> {
    std::fs::read_to_string(path).map(|text| parse(&text)).unwrap_or_default()
}

pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let entries = text.lines().filter_map(|line| {
        let (key, quoted) = line.split_once('=')?;
        Some((key.trim().to_owned(), unquote(quoted)))
    });
    entries.collect()
}

fn unquote(quoted: &str) -> String {
    let Some(inner) = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')) else {
        return quoted.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('x') => out.extend(code_point(&mut chars, 2)),
            Some('u') => out.extend(code_point(&mut chars, 4)),
            Some('U') => out.extend(code_point(&mut chars, 8)),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn code_point(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let hex: String = chars.by_ref().take(digits).collect();
    u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
}
