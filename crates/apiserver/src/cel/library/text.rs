//! Strings and regular expressions.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Budget, Outcome, Value, failed, format};
use crate::schema::pattern;

/// Functions about text.
pub fn call(name: &str, arguments: &[Value]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("strings.quote", [Value::Text(text)]) => Ok(quoted(text).into()),
        ("base64.encode", [Value::Bytes(bytes)]) => Ok(STANDARD.encode(bytes).into()),
        ("base64.decode", [Value::Text(text)]) => match STANDARD.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(error) => failed(format!("illegal base64 data: {error}")),
        },
        _ => return None,
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Methods of strings.
pub fn method(text: &Arc<str>, name: &str, arguments: &[Value], budget: &Budget) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("contains", [Value::Text(part)]) => Ok(text.contains(&**part).into()),
        ("startsWith", [Value::Text(part)]) => Ok(text.starts_with(&**part).into()),
        ("endsWith", [Value::Text(part)]) => Ok(text.ends_with(&**part).into()),
        ("lowerAscii", []) => Ok(text.to_ascii_lowercase().into()),
        ("upperAscii", []) => Ok(text.to_ascii_uppercase().into()),
        ("trim", []) => Ok(text.trim().into()),
        ("reverse", []) => Ok(text.chars().rev().collect::<String>().into()),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("substring", [Value::Int(from)]) => substring(text, *from, None),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, Some(*to)),
        ("indexOf", [Value::Text(part)]) => Ok(index_of(text, part, 0).into()),
        ("indexOf", [Value::Text(part), Value::Int(from)]) => match usize::try_from(*from) {
            Ok(from) if from <= text.chars().count() => Ok(index_of(text, part, from).into()),
            _ => failed(format!("index out of range: {from}")),
        },
        ("lastIndexOf", [Value::Text(part)]) => Ok(last_index_of(text, part, usize::MAX).into()),
        ("lastIndexOf", [Value::Text(part), Value::Int(to)]) => match usize::try_from(*to) {
            Ok(to) if to <= text.chars().count() => Ok(last_index_of(text, part, to).into()),
            _ => failed(format!("index out of range: {to}")),
        },
        ("replace", [Value::Text(old), Value::Text(new)]) => replace(text, old, new, -1, budget),
        ("replace", [Value::Text(old), Value::Text(new), Value::Int(n)]) => replace(text, old, new, *n, budget),
        ("split", [Value::Text(separator)]) => Ok(split(text, separator, -1)),
        ("split", [Value::Text(separator), Value::Int(n)]) => Ok(split(text, separator, *n)),
        ("format", [Value::List(values)]) => format::fill(text, values),
        ("matches" | "find" | "findAll", [Value::Text(_)] | [Value::Text(_), Value::Int(_)]) => {
            regex(text, name, arguments, budget)
        }
        _ => return None,
    })
}

fn regex(text: &str, name: &str, arguments: &[Value], budget: &Budget) -> Outcome {
    let [Value::Text(source), rest @ ..] = arguments else { return failed("no such overload") };
    budget.spend((text.len() / 10 + 1).saturating_mul(source.len() / 4 + 1))?;
    let Some(regex) = pattern::compiled(source) else {
        return failed(format!("error parsing regexp: invalid pattern: `{source}`"));
    };
    match (name, rest) {
        ("matches", []) => Ok(regex.is_match(text).into()),
        ("find", []) => Ok(regex.find(text).map_or("", |found| found.as_str()).into()),
        ("findAll", _) => {
            let limit = match rest {
                [Value::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let all = regex.find_iter(text).take(limit).map(|found| Value::from(found.as_str()));
            Ok(all.collect::<Vec<_>>().into())
        }
        _ => failed("no such overload"),
    }
}

fn char_at(text: &str, at: i64) -> Outcome {
    match usize::try_from(at).ok().map(|at| (at, text.chars().nth(at))) {
        Some((_, Some(c))) => Ok(c.to_string().into()),
        Some((at, None)) if at == text.chars().count() => Ok("".into()),
        _ => failed(format!("index out of range: {at}")),
    }
}

fn substring(text: &str, from: i64, to: Option<i64>) -> Outcome {
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let to = to.unwrap_or(count);
    if from < 0 || from > count {
        return failed(format!("index out of range: {from}"));
    }
    if to < 0 || to > count {
        return failed(format!("index out of range: {to}"));
    }
    if from > to {
        return failed(format!("invalid substring range. start: {from}, end: {to}"));
    }
    let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
    Ok(text.chars().skip(from).take(to - from).collect::<String>().into())
}

/// Index in characters, -1 where there is none.
fn index_of(text: &str, part: &str, from: usize) -> i64 {
    let start = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    text[start..].find(part).map_or(-1, |at| i64::try_from(text[..start + at].chars().count()).unwrap_or(-1))
}

/// The last one that starts at or before `to`.
fn last_index_of(text: &str, part: &str, to: usize) -> i64 {
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]).enumerate();
    let found = starts.take_while(|(index, _)| *index <= to).filter(|(_, at)| text[*at..].starts_with(part)).last();
    found.map_or(-1, |(index, _)| i64::try_from(index).unwrap_or(-1))
}

fn replace(text: &str, old: &str, new: &str, count: i64, budget: &Budget) -> Outcome {
    budget.spend(text.len().saturating_add(1).saturating_mul(new.len() / 10 + 1) / 10)?;
    Ok(match usize::try_from(count) {
        Ok(count) => text.replacen(old, new, count).into(),
        Err(_) => text.replace(old, new).into(),
    })
}

fn split(text: &str, separator: &str, count: i64) -> Value {
    let parts: Vec<&str> = match (usize::try_from(count), separator) {
        (Ok(0), _) => Vec::new(),
        (limit, "") => {
            let limit = limit.unwrap_or(usize::MAX);
            let bounds = text.char_indices().map(|(at, _)| at).take(limit).chain([text.len()]).collect::<Vec<_>>();
            bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
        }
        (Ok(limit), _) => text.splitn(limit, separator).collect(),
        (Err(_), _) => text.split(separator).collect(),
    };
    parts.into_iter().map(Value::from).collect::<Vec<_>>().into()
}
