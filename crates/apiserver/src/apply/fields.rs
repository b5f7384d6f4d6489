//! Sets of fields, as `metadata.managedFields` holds them, and what is done with them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::shape::{Kind, List};
use crate::object::as_map;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A member of an object.
    Field(String),
    /// An item of a list, by its keys (as JSON text).
    Key(String),
    /// An item of a set (as JSON text).
    Value(String),
}

/// A set of paths; a path is in it where a leaf ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    itself: bool,
    children: BTreeMap<Step, FieldSet>,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => Some(Self::Key(rest.to_owned())),
            "v" => Some(Self::Value(rest.to_owned())),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
        }
    }
}

/// A path for people: `.spec.containers[name="a"].image`.
pub fn shown(path: &[Step]) -> String {
    let one = |step: &Step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Key(keys) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let parts: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", parts.join(","))
        }
        Step::Value(value) => format!("[={value}]"),
    };
    path.iter().map(one).collect()
}

impl FieldSet {
    /// The set of just the place itself.
    pub fn leaf() -> Self {
        Self { itself: true, children: BTreeMap::new() }
    }

    /// Adds what is below a step, unless that is nothing.
    pub fn put(&mut self, step: Step, below: Self) {
        if !below.is_empty() {
            self.children.insert(step, below);
        }
    }

    /// Adds the paths of another set.
    pub fn unite(&mut self, other: &Self) {
        self.itself |= other.itself;
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().unite(child);
        }
    }

    /// Removes the paths of another set.
    pub fn subtract(&mut self, other: &Self) {
        self.itself &= !other.itself;
        for (step, gone) in &other.children {
            if let Some(child) = self.children.get_mut(step) {
                child.subtract(gone);
                if child.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    /// Removes the paths that a value doesn't have.
    pub fn keep(&mut self, value: &Value) {
        let index = Index::of(self, value);
        self.children.retain(|step, child| match index.find(value, step) {
            Some(found) => {
                child.keep(found);
                !child.is_empty()
            }
            None => false,
        });
    }

    pub fn from_json(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        let mut set = Self { itself: map.is_empty() || map.contains_key("."), children: BTreeMap::new() };
        for (key, child) in map {
            if let Some(step) = Step::parse(key) {
                set.children.insert(step, Self::from_json(child));
            }
        }
        set
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.itself && !self.children.is_empty() {
            map.insert(".".into(), json!({}));
        }
        map.extend(self.children.iter().map(|(step, child)| (step.text(), child.to_json())));
        Value::Object(map)
    }

    pub fn is_empty(&self) -> bool {
        !self.itself && self.children.values().all(Self::is_empty)
    }

    pub fn has(&self, path: &[Step]) -> bool {
        match path.split_first() {
            None => self.itself,
            Some((step, rest)) => self.children.get(step).is_some_and(|c| c.has(rest)),
        }
    }

    pub fn remove(&mut self, path: &[Step]) {
        match path.split_first() {
            None => self.itself = false,
            Some((step, rest)) => {
                if let Some(child) = self.children.get_mut(step) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(step);
                    }
                }
            }
        }
    }

    /// Whether a path or anything below it is in the set.
    pub fn touches(&self, path: &[Step]) -> bool {
        match path.split_first() {
            None => !self.is_empty(),
            Some((step, rest)) => self.children.get(step).is_some_and(|c| c.touches(rest)),
        }
    }

    /// All paths, an item of a list before what is in it.
    pub fn paths(&self) -> Vec<Vec<Step>> {
        let mut all = Vec::new();
        self.walk(&mut Vec::new(), &mut all);
        all
    }

    fn walk(&self, path: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
        if self.itself {
            all.push(path.clone());
        }
        for (step, child) in &self.children {
            path.push(step.clone());
            child.walk(path, all);
            path.pop();
        }
    }
}

/// The items of a list by the keys that a set uses, so that finding one doesn't walk the list.
struct Index<'a> {
    items: HashMap<String, &'a Value>,
}

impl<'a> Index<'a> {
    fn of(set: &FieldSet, value: &'a Value) -> Self {
        let Value::Array(items) = value else { return Self { items: HashMap::new() } };
        let keys = set.children.keys().find_map(|step| match step {
            Step::Key(text) => serde_json::from_str::<Map<String, Value>>(text).ok(),
            _ => None,
        });
        let keys: Option<Vec<String>> = keys.map(|map| map.keys().cloned().collect());
        let id = |item: &Value| keys.as_ref().map_or_else(|| item.to_string(), |keys| item_key(item, keys));
        Self { items: items.iter().map(|item| (id(item), item)).collect() }
    }

    fn find(&self, value: &'a Value, step: &Step) -> Option<&'a Value> {
        match step {
            Step::Field(name) => value.get(name),
            Step::Key(text) | Step::Value(text) => self.items.get(text).copied(),
        }
    }
}

/// The keys of a list's item, as text.
pub fn item_key(item: &Value, keys: &[String]) -> String {
    key_of(item, keys).to_string()
}

/// The items of a list by their keys.
pub fn keyed<'a>(items: &'a [Value], keys: &[String]) -> HashMap<String, &'a Value> {
    items.iter().map(|item| (item_key(item, keys), item)).collect()
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let mut map = Map::new();
    for key in keys {
        let value = match &item[key.as_str()] {
            Value::Null if key == "protocol" => "TCP".into(),
            other => other.clone(),
        };
        map.insert(key.clone(), value);
    }
    Value::Object(map)
}

/// The fields that a value names.
pub fn collect(kind: &Kind<'_>, value: &Value) -> FieldSet {
    let Value::Object(map) = value else { return FieldSet::leaf() };
    if map.is_empty() || kind.is_atomic_map() {
        return FieldSet::leaf();
    }
    let mut set = FieldSet::default();
    for (key, child) in map {
        let child = match child {
            Value::Array(items) => collect_list(kind, key, items),
            Value::Object(_) if kind.has_atomic_field(key) => FieldSet::leaf(),
            other => collect(&kind.field(key), other),
        };
        set.children.insert(Step::Field(key.clone()), child);
    }
    set
}

fn collect_list(owner: &Kind<'_>, key: &str, items: &[Value]) -> FieldSet {
    // An empty list is something to own too.
    let mut set = FieldSet { itself: items.is_empty(), children: BTreeMap::new() };
    match owner.list(key) {
        List::Atomic => set.itself = true,
        List::Set => {
            set.children = items.iter().map(|i| (Step::Value(i.to_string()), FieldSet::leaf())).collect();
        }
        List::Keyed(keys) => {
            for item in items {
                let mut child = collect(&owner.field(key).items(), item);
                child.itself = true;
                set.children.insert(Step::Key(key_of(item, &keys).to_string()), child);
            }
        }
    }
    set
}

/// Puts what `applied` says into `current`.
pub fn merge(kind: &Kind<'_>, current: &mut Value, applied: &Value) {
    let Value::Object(map) = applied else {
        *current = applied.clone();
        return;
    };
    if kind.is_atomic_map() {
        *current = applied.clone();
        return;
    }
    let target = as_map(current);
    for (key, value) in map {
        let slot = target.entry(key.as_str()).or_insert(Value::Null);
        match value {
            Value::Array(items) => merge_list(kind, key, slot, items),
            Value::Object(_) if kind.has_atomic_field(key) => *slot = value.clone(),
            other => merge(&kind.field(key), slot, other),
        }
    }
}

fn merge_list(owner: &Kind<'_>, key: &str, current: &mut Value, items: &[Value]) {
    let Value::Array(existing) = current else {
        *current = Value::Array(items.to_vec());
        return;
    };
    match owner.list(key) {
        List::Atomic => *existing = items.to_vec(),
        List::Set => {
            let new: Vec<Value> = items.iter().filter(|i| !existing.contains(i)).cloned().collect();
            existing.extend(new);
        }
        List::Keyed(keys) => {
            for item in items {
                let id = key_of(item, &keys);
                match existing.iter_mut().find(|e| key_of(e, &keys) == id) {
                    Some(found) => merge(&owner.field(key).items(), found, item),
                    None => existing.push(item.clone()),
                }
            }
        }
    }
}

fn position(items: &[Value], step: &Step) -> Option<usize> {
    match step {
        Step::Field(_) => None,
        Step::Value(text) => {
            let wanted: Value = serde_json::from_str(text).ok()?;
            items.iter().position(|i| *i == wanted)
        }
        Step::Key(text) => {
            let wanted: Map<String, Value> = serde_json::from_str(text).ok()?;
            let keys: Vec<String> = wanted.keys().cloned().collect();
            let wanted = Value::Object(wanted);
            items.iter().position(|i| key_of(i, &keys) == wanted)
        }
    }
}

/// The value at a path.
pub fn find<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, step| match step {
        Step::Field(name) => at.get(name),
        item => {
            let items = at.as_array()?;
            items.get(position(items, item)?)
        }
    })
}

/// Removes the value at a path, and the list that it leaves empty.
pub fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => {
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(child) = map.get_mut(name) {
                remove(child, rest);
                if child.as_array().is_some_and(Vec::is_empty) {
                    map.shift_remove(name);
                }
            }
        }
        (item, Value::Array(items)) => {
            if let Some(index) = position(items, item) {
                if rest.is_empty() {
                    items.remove(index);
                } else {
                    remove(&mut items[index], rest);
                }
            }
        }
        _ => {}
    }
}
