//! Header values with substitutions: `%DOWNSTREAM_REMOTE_ADDRESS%`, `%REQ(x-name)%`, …

use std::borrow::Cow;

/// A compiled value.
#[derive(Debug, Clone)]
pub struct Format(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    Operator(Operator),
}

/// What stands between two percent signs: `NAME(argument):limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name.
    pub name: Box<str>,
    /// What stands in parentheses.
    pub argument: Option<Box<str>>,
    /// The longest value, in bytes.
    pub limit: Option<usize>,
}

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text that stands for itself.
    Text(&'a str),
    /// An operator.
    Operator(Operator),
    /// A percent sign that begins no operator.
    StrayPercent,
}

/// Takes a format apart; `%%` is text. As Envoy's command operators are written.
pub fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let Some(after) = rest.strip_prefix('%') else {
            let end = rest.find('%').unwrap_or(rest.len());
            let (literal, tail) = rest.split_at(end);
            rest = tail;
            return (!literal.is_empty()).then_some(Part::Text(literal));
        };
        if let Some(tail) = after.strip_prefix('%') {
            rest = tail;
            return Some(Part::Text("%"));
        }
        let Some(end) = operator_end(after) else {
            rest = after;
            return Some(Part::StrayPercent);
        };
        rest = &after[end + 1..];
        Some(Part::Operator(operator(&after[..end])))
    })
}

/// Gives the values that stand for operators.
pub trait Operators {
    /// The value of `%name(argument)%`; `None` when it is unknown here or has none.
    fn operator(&self, name: &str, argument: Option<&str>) -> Option<Cow<'_, str>>;
}

/// Why a format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("value {0:?} has a % that doesn't begin an operator: write %% for a percent sign")]
pub struct FormatError(String);

impl Format {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => push_text(&mut pieces, text),
                Part::Operator(operator) => pieces.push(Piece::Operator(operator)),
                Part::StrayPercent => return Err(FormatError(text.into())),
            }
        }
        Ok(Self(pieces))
    }

    /// The value as constant, when it has no operator.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value; operators without one are written `empty`.
    pub fn render<'a>(&'a self, operators: &dyn Operators, empty: &str) -> Cow<'a, str> {
        if let Some(text) = self.constant() {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Operator(Operator { name, argument, limit }) => {
                    let value = operators.operator(name, argument.as_deref());
                    let value = value.as_deref().unwrap_or(empty);
                    out.push_str(truncated(value, *limit));
                }
            }
        }
        Cow::Owned(out)
    }
}

/// Neighbouring texts are one piece, so that a text with `%%` is still a constant.
fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => *before = [before, text].concat().into(),
        _ => pieces.push(Piece::Text(text.into())),
    }
}

fn truncated(value: &str, limit: Option<usize>) -> &str {
    let mut end = limit.unwrap_or(usize::MAX).min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

/// Where an operator ends: an argument, such as a form of time, may contain percent signs.
fn operator_end(rest: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (i, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'%' if depth == 0 => return (i > 0).then_some(i),
            _ => {}
        }
    }
    None
}

fn operator(text: &str) -> Operator {
    let name_end = text.find(['(', ':']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let mut argument = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let close = inner.rfind(')').unwrap_or(inner.len());
        argument = Some(inner[..close].into());
        rest = inner.get(close + 1..).unwrap_or_default();
    }
    let limit = rest.strip_prefix(':').and_then(|digits| digits.parse().ok());
    Operator { name: name.into(), argument, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Operators for Fixed {
        fn operator(&self, name: &str, argument: Option<&str>) -> Option<Cow<'_, str>> {
            match (name, argument) {
                ("REQ", Some(header)) => Some(format!("<{header}>").into()),
                ("PROTOCOL", None) => Some("HTTP/1.1".into()),
                _ => None,
            }
        }
    }

    #[test]
    fn operators_are_filled_in() {
        let render = |text: &str| Format::new(text).expect("valid").render(&Fixed, "-").into_owned();
        assert_eq!(render("plain"), "plain");
        assert_eq!(render("100%%"), "100%");
        assert_eq!(render("a %REQ(x-a)% b %PROTOCOL% %NOPE%"), "a <x-a> b HTTP/1.1 -");
        assert_eq!(render("%PROTOCOL:4%"), "HTTP");
        assert!(Format::new("50%").is_err());
    }
}
