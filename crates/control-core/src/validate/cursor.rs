//! A place in a document that knows its path, and the list of findings.

use serde_json::Value;

use super::{Finding, Severity};

/// A value (or its absence) with the path that leads to it. `null` counts as absent.
#[derive(Clone)]
pub(super) struct At<'a> {
    value: Option<&'a Value>,
    path: String,
}

impl<'a> At<'a> {
    /// The whole document.
    pub fn root(value: &'a Value) -> Self {
        At { value: Some(value), path: String::new() }
    }

    fn child(&self, value: Option<&'a Value>, path: String) -> Self {
        At { value: value.filter(|value| !value.is_null()), path }
    }

    /// The field of that name.
    pub fn get(&self, name: &str) -> At<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.child(self.value.and_then(|value| value.get(name)), path)
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_set()
    }

    /// Whether there is anything.
    pub fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The items of a list, absent ones too.
    pub fn items(&self) -> Vec<At<'a>> {
        let items = self.value.and_then(Value::as_array).into_iter().flatten().enumerate();
        items.map(|(index, item)| self.child(Some(item), format!("{}[{index}]", self.path))).collect()
    }

    /// The entries of a map, absent values too.
    pub fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let entries = self.value.and_then(Value::as_object).into_iter().flatten();
        entries
            .map(|(name, value)| (name.as_str(), self.child(Some(value), format!("{}[{name}]", self.path))))
            .collect()
    }

    /// Whether it is absent, or a map or list without content, or an empty text.
    pub fn is_blank(&self) -> bool {
        match self.value {
            None => true,
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        }
    }

    /// The text, or an empty one.
    pub fn text(&self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    pub fn integer(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    pub fn number(&self) -> Option<f64> {
        self.value.and_then(Value::as_f64)
    }

    pub fn flag(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or_default()
    }

    /// How many of these fields are there.
    pub fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub fn error(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.add(at, message.into(), Severity::Error);
    }

    pub fn warn(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.add(at, message.into(), Severity::Warning);
    }

    /// An error where a check failed.
    pub fn check(&mut self, at: &At<'_>, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.error(at, message);
        }
    }

    fn add(&mut self, at: &At<'_>, message: String, severity: Severity) {
        self.0.push(Finding { field: at.path.clone(), message, severity });
    }

    pub fn findings(self) -> Vec<Finding> {
        self.0
    }
}
