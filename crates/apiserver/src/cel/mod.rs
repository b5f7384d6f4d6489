//! The Common Expression Language as Kubernetes has it: rules of CustomResourceDefinitions and
//! `matchConditions` of webhooks.
//!
//! An expression is compiled once and evaluated with a budget, so that none runs without bound.
//! Written here rather than taken from a crate because those have no budget, lack macros that
//! Kubernetes has, and word their errors otherwise.

mod ast;
mod check;
mod eval;
mod json;
mod lexer;
mod library;
mod macros;
mod parser;
mod value;

use std::fmt;

pub use eval::Budget;
pub use json::{Step, typed, typed_with, untyped};
pub use library::{NO_QUANTITY, Quantity, canonical_quantity, parse_duration};
pub use value::{Key, Value};

/// Kubernetes' limit for one evaluation of one expression.
pub const CALL_BUDGET: u64 = 1_000_000;
/// Kubernetes' limit for all rules of one object.
pub const OBJECT_BUDGET: u64 = 10_000_000;

/// Whether a text is a URL with a scheme, or a path that begins with a slash.
pub fn is_absolute_url(text: &str) -> bool {
    library::Url::parse(text).is_some()
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    root: ast::Expr,
    source: String,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It went wrong, in the words of Kubernetes' evaluator.
    Failed(String),
    /// It costs more than it may.
    OverBudget,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => f.write_str(text),
            Self::OverBudget => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl Program {
    /// Compiles an expression that may use these variables. The error says where and why.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, String> {
        let root = parser::parse(source)?;
        check::check(&root, source, variables)?;
        Ok(Self { root, source: source.to_owned() })
    }

    /// Evaluates it with the variables' values.
    pub fn evaluate(&self, variables: &[(&str, Value)], budget: &Budget) -> Result<Value, Fault> {
        eval::evaluate(&self.root, variables, budget)
    }

    /// Evaluates it where only true and false make sense.
    pub fn test(&self, variables: &[(&str, Value)], budget: &Budget) -> Result<bool, Fault> {
        match self.evaluate(variables, budget)? {
            Value::Bool(verdict) => Ok(verdict),
            other => Err(Fault::Failed(format!("cel expression must evaluate to a bool, not {}", other.type_name()))),
        }
    }

    /// Whether it uses a variable.
    pub fn uses(&self, variable: &str) -> bool {
        check::uses(&self.root, variable)
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

#[cfg(test)]
mod tests;
