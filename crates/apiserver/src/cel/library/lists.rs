//! Lists and sets.

use std::{cmp::Ordering, sync::Arc};

use super::{super::ast::Binary, super::value::Key, Budget, Outcome, Value, failed, numbers, overload};

/// `item in list`, `key in map`.
pub fn contains(item: &Value, of: &Value, budget: &Budget) -> Outcome {
    match of {
        Value::List(items) => {
            budget.spend(items.len())?;
            Ok(items.iter().any(|i| i.same(item)).into())
        }
        Value::Map(map) => Ok(Key::of(item).is_some_and(|key| map.contains_key(&key)).into()),
        other => overload("@in", &[item, other]),
    }
}

/// `sets.*` and `lists.range`.
pub fn call(name: &str, arguments: &[Value], budget: &Budget) -> Option<Outcome> {
    if let ("lists.range", [Value::Int(n)]) = (name, arguments) {
        let n = usize::try_from(*n).unwrap_or(0);
        return Some(budget.spend(n).map(|()| (0..n).map(Value::from).collect::<Vec<_>>().into()));
    }
    let [Value::List(a), Value::List(b)] = arguments else { return None };
    if let Err(fault) = budget.spend(a.len().saturating_mul(b.len())) {
        return Some(Err(fault));
    }
    let within = |a: &[Value], b: &[Value]| b.iter().all(|item| a.iter().any(|i| i.same(item)));
    Some(Ok(match name {
        "sets.contains" => within(a, b),
        "sets.equivalent" => within(a, b) && within(b, a),
        "sets.intersects" => a.iter().any(|item| b.iter().any(|i| i.same(item))),
        _ => return None,
    }
    .into()))
}

/// Methods of lists.
pub fn method(items: &Arc<[Value]>, name: &str, arguments: &[Value], budget: &Budget) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("join", []) => join(items, ""),
        ("join", [Value::Text(separator)]) => join(items, separator),
        ("isSorted", []) => Ok(items.is_sorted_by(|a, b| a.order(b).is_some_and(Ordering::is_le)).into()),
        ("sum", []) => sum(items, budget),
        ("min", []) => return extreme(items, "min", Ordering::is_lt),
        ("max", []) => return extreme(items, "max", Ordering::is_gt),
        ("indexOf", [item]) => Ok(place(items.iter().position(|i| i.same(item)))),
        ("lastIndexOf", [item]) => Ok(place(items.iter().rposition(|i| i.same(item)))),
        ("reverse", []) => Ok(items.iter().rev().cloned().collect::<Vec<_>>().into()),
        ("first", []) => Ok(Value::optional(items.first().cloned())),
        ("last", []) => Ok(Value::optional(items.last().cloned())),
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(items, *from, *to),
        ("flatten", []) => Ok(flatten(items, 1).into()),
        ("flatten", [Value::Int(depth)]) => Ok(flatten(items, *depth).into()),
        ("distinct", []) => distinct(items, budget),
        ("sort", []) => sort(items),
        _ => return None,
    })
}

fn place(index: Option<usize>) -> Value {
    index.map_or(Value::Int(-1), Value::from)
}

fn join(items: &[Value], separator: &str) -> Outcome {
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        let Value::Text(text) = item else { return overload("join", &[item]) };
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(text);
    }
    Ok(out.into())
}

fn sum(items: &[Value], budget: &Budget) -> Outcome {
    let Some((first, rest)) = items.split_first() else { return Ok(Value::Int(0)) };
    rest.iter().try_fold(first.clone(), |sum, item| numbers::arithmetic(Binary::Add, &sum, item, budget))
}

/// The smallest or greatest item.
pub fn extreme(items: &[Value], name: &str, wins: fn(Ordering) -> bool) -> Option<Outcome> {
    let Some((first, rest)) = items.split_first() else {
        return Some(failed(format!("{name} called on empty list")));
    };
    let mut best = first;
    for item in rest {
        match item.order(best) {
            Some(order) if wins(order) => best = item,
            Some(_) => {}
            None => return Some(overload(name, &[best, item])),
        }
    }
    Some(Ok(best.clone()))
}

fn slice(items: &[Value], from: i64, to: i64) -> Outcome {
    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok()).map(|(from, to)| from..to);
    match range.and_then(|range| items.get(range)) {
        Some(part) => Ok(part.to_vec().into()),
        None => failed(format!("cannot slice({from}, {to}), list is length {}", items.len())),
    }
}

fn flatten(items: &[Value], depth: i64) -> Vec<Value> {
    let mut flat = Vec::new();
    for item in items {
        match item {
            Value::List(inner) if depth > 0 => flat.extend(flatten(inner, (depth - 1).min(60))),
            other => flat.push(other.clone()),
        }
    }
    flat
}

fn distinct(items: &[Value], budget: &Budget) -> Outcome {
    budget.spend(items.len().saturating_mul(items.len()))?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        if !kept.iter().any(|k| k.same(item)) {
            kept.push(item.clone());
        }
    }
    Ok(kept.into())
}

fn sort(items: &[Value]) -> Outcome {
    if let Some(pair) = items.windows(2).find(|pair| pair[0].order(&pair[1]).is_none()) {
        return overload("sort", &[&pair[0], &pair[1]]);
    }
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
    Ok(sorted.into())
}
