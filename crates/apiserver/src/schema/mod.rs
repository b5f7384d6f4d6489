//! What objects look like: schemas of the built-in kinds and of custom resources.

mod builtin;
mod decode;
mod default;
pub mod formats;
pub mod pattern;
mod rules;
mod structural;

use std::sync::Arc;

use serde_json::Value;

pub use builtin::definition;
pub use decode::{Report, parse_json};
pub use rules::Rules;

/// The schema of one kind in one version.
#[derive(Clone, Debug)]
pub enum Schema {
    /// A named definition of Kubernetes' own types.
    Builtin(Arc<str>),
    /// A structural schema of a CustomResourceDefinition.
    Custom(Arc<Custom>),
}

/// A structural schema with its rules.
#[derive(Debug)]
pub struct Custom {
    /// `openAPIV3Schema`
    pub json: Value,
    rules: Rules,
}

impl Schema {
    /// The schema of a built-in kind, by its definition's name.
    pub fn builtin(name: impl Into<Arc<str>>) -> Self {
        Self::Builtin(name.into())
    }

    /// A custom resource's schema.
    pub fn custom(schema: Value) -> Self {
        // What doesn't compile was refused when the definition was written.
        let rules = Rules::compile(&schema, "", &mut Vec::new());
        Self::Custom(Arc::new(Custom { json: schema, rules }))
    }

    /// Whether both are one schema, so that an object of one version is one of the other.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Builtin(one), Self::Builtin(other)) => one == other,
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Drops what the schema doesn't know, and reports it and values of wrong types.
    pub fn decode(&self, object: &mut Value) -> Report {
        match self {
            Self::Builtin(name) => decode::builtin(name, object),
            Self::Custom(schema) => decode::custom(&schema.json, object),
        }
    }

    /// Fills in the schema's defaults (custom resources; built-in kinds have theirs in code).
    pub fn default(&self, object: &mut Value) {
        if let Self::Custom(schema) = self {
            default::default(&schema.json, object);
        }
    }

    /// Everything wrong with a custom resource by its schema; `old` is what it was before.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<crate::status::FieldError> {
        match self {
            Self::Builtin(_) => Vec::new(),
            Self::Custom(schema) => structural::validate(&schema.json, &schema.rules, object, old),
        }
    }
}

#[cfg(test)]
mod tests;
