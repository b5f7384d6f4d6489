//! Regular expressions of schemas and rules, compiled once.

use std::{cell::RefCell, collections::HashMap};

use regex::{Regex, RegexBuilder};

const MAX_KEPT: usize = 512;
const MAX_BYTES: usize = 1 << 20;

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new());
}

/// The compiled pattern; none where it is not one, or too large.
pub fn compiled(pattern: &str) -> Option<Regex> {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(pattern) {
            return known.clone();
        }
        if patterns.len() >= MAX_KEPT {
            patterns.clear();
        }
        let regex = RegexBuilder::new(&ascii_classes(pattern)).size_limit(MAX_BYTES).build().ok();
        patterns.insert(pattern.to_owned(), regex.clone());
        regex
    })
}

/// Kubernetes' `\d`, `\w` and `\s` know ASCII only.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if c != '\\' {
            in_class = (in_class || c == '[') && c != ']';
            out.push(c);
            continue;
        }
        let class = match chars.next() {
            Some('d') => "0-9",
            Some('w') => "0-9A-Za-z_",
            Some('s') => r"\t\n\f\r ",
            other => {
                out.push('\\');
                out.extend(other);
                continue;
            }
        };
        if in_class {
            out.push_str(class);
        } else {
            out.push_str(&format!("[{class}]"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compiled;

    #[test]
    fn classes_are_ascii() {
        let cases = [(r"^\d+$", "12", true), (r"^\d+$", "٣", false), (r"^[\w.]+$", "a.b_1", true), (r"\.", "x", false)];
        for (pattern, text, fits) in cases {
            assert_eq!(compiled(pattern).unwrap().is_match(text), fits, "{pattern} {text}");
        }
        assert!(compiled("(").is_none());
        assert!(compiled("((a{1000}){1000}){1000}").is_none());
    }
}
