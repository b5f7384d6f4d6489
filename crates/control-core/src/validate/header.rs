//! Header names, values and operations.

use super::cursor::{At, Report};

/// A header name that may be matched or changed.
pub(super) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a header name can't be empty".into());
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match text.strip_prefix(':').unwrap_or(text) {
        rest if !rest.is_empty() && rest.bytes().all(valid) => Ok(()),
        _ => Err(format!("{text:?} can't be the name of a header")),
    }
}

/// A value that may hold Envoy's `%COMMAND(argument):length%`; a plain percent sign is written `%%`.
pub(super) fn value(text: &str) -> Result<(), String> {
    let refused = || format!("header value configuration {text} is invalid; write a plain percent sign as %%");
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        rest = command(after).ok_or_else(refused)?;
    }
    Ok(())
}

/// What follows the command that begins after a percent sign.
fn command(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some(rest);
    }
    if !text.starts_with(|letter: char| letter.is_ascii_uppercase()) {
        return None;
    }
    let end = text.find(|letter: char| !letter.is_ascii_uppercase() && !letter.is_ascii_digit() && letter != '_')?;
    let mut rest = &text[end..];
    if let Some(argument) = rest.strip_prefix('(') {
        rest = &argument[argument.find(')')? + 1..];
    }
    if let Some(length) = rest.strip_prefix(':') {
        rest = length.trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    rest.strip_prefix('%')
}

/// `headers` of a route or destination: what is set, added and removed on requests and responses.
pub(super) fn operations(at: &At<'_>, report: &mut Report) {
    for side in ["request", "response"] {
        let side = at.get(side);
        for change in ["set", "add"] {
            for (header, text) in side.get(change).entries() {
                report.check(&text, name(header));
                report.check(&text, value(text.text()));
            }
        }
        for header in side.get("remove").items() {
            report.check(&header, name(header.text()));
        }
    }
}
