//! Evaluation.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use super::{
    Fault,
    ast::{Expr, Loop, Walk},
    library::{self, overload},
    value::{Key, Value},
};

/// What evaluation may still cost.
#[derive(Debug)]
pub struct Budget(Cell<u64>);

impl Budget {
    /// So much.
    pub fn new(units: u64) -> Self {
        Self(Cell::new(units))
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.0.get()
    }

    /// Pays for something.
    pub fn spend(&self, units: usize) -> Result<(), Fault> {
        match self.0.get().checked_sub(units as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                Err(Fault::OverBudget)
            }
        }
    }
}

type Outcome = Result<Value, Fault>;

/// A failure in words.
pub fn failed<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Failed(text.into()))
}

/// Evaluates an expression.
pub fn evaluate(root: &Expr, variables: &[(&str, Value)], budget: &Budget) -> Outcome {
    Evaluator { variables, budget }.value(root, None)
}

/// Variables that macros bind, the innermost first.
#[derive(Clone, Copy)]
struct Scope<'a> {
    name: &'a str,
    value: &'a Value,
    outer: Option<&'a Scope<'a>>,
}

struct Evaluator<'a> {
    variables: &'a [(&'a str, Value)],
    budget: &'a Budget,
}

impl Evaluator<'_> {
    fn value(&self, expr: &Expr, scope: Option<&Scope<'_>>) -> Outcome {
        self.budget.spend(1)?;
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Variable(name) => self.variable(&name.text, scope),
            Expr::Select { of, field, optional } => select(self.value(of, scope)?, field, *optional),
            Expr::Has { of, field } => has(&self.value(of, scope)?, field),
            Expr::Index { of, index, optional } => {
                index_of(self.value(of, scope)?, &self.value(index, scope)?, *optional)
            }
            Expr::Call { name, arguments } => {
                let arguments = self.values(arguments, scope)?;
                library::call(&name.text, &arguments, self.budget)
            }
            Expr::Method { target, name, arguments } => {
                let target = self.value(target, scope)?;
                let arguments = self.values(arguments, scope)?;
                library::method(&target, &name.text, &arguments, self.budget)
            }
            Expr::List(items) => self.list(items, scope),
            Expr::Map(entries) => self.map(entries, scope),
            Expr::And(terms) => self.logic(terms, false, scope),
            Expr::Or(terms) => self.logic(terms, true, scope),
            Expr::Not(inner) => match self.value(inner, scope)? {
                Value::Bool(b) => Ok(Value::Bool(!b)),
                other => overload("!_", &[&other]),
            },
            Expr::Negate(inner) => negated(&self.value(inner, scope)?),
            Expr::Choice(parts) => match self.value(&parts.0, scope)? {
                Value::Bool(true) => self.value(&parts.1, scope),
                Value::Bool(false) => self.value(&parts.2, scope),
                other => overload("_?_:_", &[&other]),
            },
            Expr::Binary(operator, sides) => {
                let (left, right) = (self.value(&sides.0, scope)?, self.value(&sides.1, scope)?);
                self.budget.spend(left.weight().min(right.weight()))?;
                library::binary(*operator, &left, &right, self.budget)
            }
            Expr::Loop(walk) => self.walk(walk, scope),
            Expr::Bind { name, parts } => {
                let value = self.value(&parts.0, scope)?;
                self.value(&parts.1, Some(&Scope { name, value: &value, outer: scope }))
            }
            Expr::OptionalMap { name, parts, flat } => {
                let Value::Optional(inner) = self.value(&parts.0, scope)? else {
                    return failed("no such overload");
                };
                let Some(value) = inner else { return Ok(Value::Optional(None)) };
                let result = self.value(&parts.1, Some(&Scope { name, value: &value, outer: scope }))?;
                Ok(if *flat { result } else { Value::optional(Some(result)) })
            }
        }
    }

    fn values(&self, list: &[Expr], scope: Option<&Scope<'_>>) -> Result<Vec<Value>, Fault> {
        list.iter().map(|expr| self.value(expr, scope)).collect()
    }

    fn variable(&self, name: &str, scope: Option<&Scope<'_>>) -> Outcome {
        let mut at = scope;
        while let Some(found) = at {
            if found.name == name {
                return Ok(found.value.clone());
            }
            at = found.outer;
        }
        match self.variables.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => library::type_named(name)
                .map_or_else(|| failed(format!("no such attribute(s): {name}")), |name| Ok(Value::Type(name))),
        }
    }

    /// `||` is true where any term is, `&&` false, whatever is wrong with the others.
    fn logic(&self, terms: &[Expr], decisive: bool, scope: Option<&Scope<'_>>) -> Outcome {
        let mut fault = None;
        for term in terms {
            match self.value(term, scope) {
                Ok(Value::Bool(b)) if b == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(other) => fault = overload::<()>(if decisive { "_||_" } else { "_&&_" }, &[&other]).err(),
                Err(Fault::OverBudget) => return Err(Fault::OverBudget),
                Err(other) => fault = Some(other),
            }
        }
        fault.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn list(&self, items: &[(Expr, bool)], scope: Option<&Scope<'_>>) -> Outcome {
        let mut list = Vec::with_capacity(items.len());
        for (item, optional) in items {
            list.extend(given(self.value(item, scope)?, *optional)?);
        }
        Ok(list.into())
    }

    fn map(&self, entries: &[(Expr, Expr, bool)], scope: Option<&Scope<'_>>) -> Outcome {
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.value(key, scope)?;
            let Some(key) = Key::of(&key) else {
                return failed(format!("unsupported key type: {}", key.type_name()));
            };
            if let Some(value) = given(self.value(value, scope)?, *optional)?
                && map.insert(key.clone(), value).is_some()
            {
                return failed(format!("Failed with repeated key: {}", key.shown()));
            }
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn walk(&self, walk: &Loop, scope: Option<&Scope<'_>>) -> Outcome {
        let range = self.value(&walk.range, scope)?;
        let pairs = pairs(&range, walk.second.is_some())?;
        let mut tally = Tally::new(walk.walk);
        for (first, second) in pairs {
            self.budget.spend(1)?;
            let outer = Scope { name: &walk.first, value: &first, outer: scope };
            let inner = walk.second.as_deref().map(|name| Scope { name, value: &second, outer: Some(&outer) });
            let scope = Some(inner.as_ref().unwrap_or(&outer));
            if let Some(only) = &walk.only {
                match self.value(only, scope)? {
                    Value::Bool(true) => {}
                    Value::Bool(false) => continue,
                    other => return overload("_?_:_", &[&other]),
                }
            }
            if tally.add(first.clone(), self.value(&walk.body, scope))? {
                break;
            }
        }
        tally.result()
    }
}

/// What a loop has come to so far.
struct Tally {
    walk: Walk,
    decided: Option<bool>,
    fault: Option<Fault>,
    count: usize,
    items: Vec<Value>,
    keyed: Vec<(Value, Value)>,
}

impl Tally {
    fn new(walk: Walk) -> Self {
        Self { walk, decided: None, fault: None, count: 0, items: Vec::new(), keyed: Vec::new() }
    }

    /// Takes what the body made of an item; true where nothing more matters.
    fn add(&mut self, item: Value, body: Outcome) -> Result<bool, Fault> {
        let absorbs = matches!(self.walk, Walk::All | Walk::Exists);
        let body = match body {
            Err(Fault::Failed(text)) if absorbs => {
                self.fault = Some(Fault::Failed(text));
                return Ok(false);
            }
            other => other?,
        };
        match (self.walk, body) {
            (Walk::All, Value::Bool(b)) => self.decided = (!b).then_some(false),
            (Walk::Exists, Value::Bool(b)) => self.decided = b.then_some(true),
            (Walk::ExistsOne, Value::Bool(b)) => self.count += usize::from(b),
            (Walk::Filter, Value::Bool(b)) => self.items.extend(b.then_some(item)),
            (Walk::Map, value) => self.items.push(value),
            (Walk::TransformMap | Walk::SortBy, value) => self.keyed.push((item, value)),
            (_, other) => return overload("_?_:_", &[&other]),
        }
        Ok(self.decided.is_some())
    }

    fn result(mut self) -> Outcome {
        match self.walk {
            Walk::All | Walk::Exists => match (self.decided, self.fault) {
                (Some(verdict), _) => Ok(Value::Bool(verdict)),
                (None, Some(fault)) => Err(fault),
                (None, None) => Ok(Value::Bool(self.walk == Walk::All)),
            },
            Walk::ExistsOne => Ok(Value::Bool(self.count == 1)),
            Walk::Filter | Walk::Map => Ok(self.items.into()),
            Walk::TransformMap => {
                let entries = self.keyed.into_iter().filter_map(|(key, value)| Some((Key::of(&key)?, value)));
                Ok(Value::Map(Arc::new(entries.collect())))
            }
            Walk::SortBy => {
                self.keyed.sort_by(|(_, a), (_, b)| a.order(b).unwrap_or(std::cmp::Ordering::Equal));
                Ok(self.keyed.into_iter().map(|(item, _)| item).collect::<Vec<_>>().into())
            }
        }
    }
}

/// What a loop goes over: items (with their index), keys (with their value).
fn pairs(range: &Value, both: bool) -> Result<Vec<(Value, Value)>, Fault> {
    match range {
        Value::List(items) if both => Ok(items.iter().enumerate().map(|(i, v)| (i.into(), v.clone())).collect()),
        Value::List(items) => Ok(items.iter().map(|v| (v.clone(), Value::Null)).collect()),
        Value::Map(map) => Ok(map.iter().map(|(k, v)| (k.value(), v.clone())).collect()),
        other => failed(format!("got '{}', expected iterable type", other.type_name())),
    }
}

/// An element of a list or map: `?x` is there only where it has a value.
fn given(value: Value, optional: bool) -> Result<Option<Value>, Fault> {
    match value {
        Value::Optional(inner) if optional => Ok(inner.map(Arc::unwrap_or_clone)),
        other if optional => failed(format!("cannot initialize optional entry from {}", other.type_name())),
        other => Ok(Some(other)),
    }
}

fn negated(value: &Value) -> Outcome {
    match value {
        Value::Int(n) => n.checked_neg().map_or_else(|| failed("integer overflow"), |n| Ok(Value::Int(n))),
        Value::Double(n) => Ok(Value::Double(-n)),
        Value::Duration(n) => n.checked_neg().map_or_else(|| failed("integer overflow"), |n| Ok(Value::Duration(n))),
        other => overload("-_", &[other]),
    }
}

fn has(of: &Value, field: &str) -> Outcome {
    match of {
        Value::Map(map) => Ok(Value::Bool(map.contains_key(&Key::Text(field.into())))),
        Value::Optional(Some(inner)) => has(inner, field),
        Value::Optional(None) => Ok(Value::Bool(false)),
        other => failed(format!("no such overload: {}.{field}", other.type_name())),
    }
}

fn select(of: Value, field: &str, optional: bool) -> Outcome {
    match of {
        Value::Map(map) => {
            let found = map.get(&Key::Text(field.into())).cloned();
            match found {
                found if optional => Ok(Value::optional(found)),
                Some(value) => Ok(value),
                None => failed(format!("no such key: {field}")),
            }
        }
        Value::Optional(Some(inner)) => {
            let found = select(Arc::unwrap_or_clone(inner), field, true)?;
            Ok(found)
        }
        Value::Optional(None) => Ok(Value::Optional(None)),
        other => failed(format!("no such overload: {}.{field}", other.type_name())),
    }
}

fn index_of(of: Value, index: &Value, optional: bool) -> Outcome {
    if let Value::Optional(inner) = of {
        return match inner {
            Some(inner) => index_of(Arc::unwrap_or_clone(inner), index, true),
            None => Ok(Value::Optional(None)),
        };
    }
    let found = match (&of, Key::of(index)) {
        (Value::List(items), Some(Key::Int(n))) => {
            let item = usize::try_from(n).ok().and_then(|n| items.get(n)).cloned();
            item.ok_or_else(|| format!("index out of bounds: {n}"))
        }
        (Value::Map(map), Some(key)) => map.get(&key).cloned().ok_or_else(|| format!("no such key: {}", key.shown())),
        _ => return overload("_[_]", &[&of, index]),
    };
    match found {
        found if optional => Ok(Value::optional(found.ok())),
        Ok(value) => Ok(value),
        Err(text) => failed(text),
    }
}
