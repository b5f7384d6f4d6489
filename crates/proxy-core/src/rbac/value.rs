//! Conditions on values that other filters leave, such as the claims of tokens.

use serde_json::{Map, Value};

use crate::pattern::StringMatch;

/// How a value must be.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// Absent or null.
    Null,
    /// This number.
    Number(f64),
    /// A text that looks so.
    Text(StringMatch),
    /// This truth.
    Bool(bool),
    /// There (or not, when false).
    Present(bool),
    /// A list that holds such a value.
    Holds(Box<ValueMatch>),
    /// One of these.
    Either(Box<[ValueMatch]>),
}

impl ValueMatch {
    /// Whether the value is so.
    pub fn matches(&self, value: Option<&Value>) -> bool {
        let value = value.filter(|value| !value.is_null());
        match self {
            Self::Null => value.is_none(),
            Self::Number(wanted) => value.and_then(Value::as_f64) == Some(*wanted),
            Self::Text(wanted) => value.and_then(Value::as_str).is_some_and(|text| wanted.matches(text.as_bytes())),
            Self::Bool(wanted) => value.and_then(Value::as_bool) == Some(*wanted),
            Self::Present(wanted) => value.is_some() == *wanted,
            Self::Holds(one) => {
                value.and_then(Value::as_array).is_some_and(|list| list.iter().any(|value| one.matches(Some(value))))
            }
            Self::Either(some) => some.iter().any(|one| one.matches(value)),
        }
    }
}

/// A condition on what good tokens say.
#[derive(Debug, Clone)]
pub struct ClaimMatch {
    /// The way to the value: first the key of who looked at the token.
    pub path: Box<[Box<str>]>,
    /// How it must be.
    pub value: ValueMatch,
    /// Turn the answer round.
    pub invert: bool,
}

impl ClaimMatch {
    /// Whether the claims meet the condition.
    pub fn matches(&self, claims: Option<&Map<String, Value>>) -> bool {
        let found = self.path.split_first().and_then(|(first, rest)| {
            let top = claims?.get(&**first)?;
            rest.iter().try_fold(top, |value, key| value.get(&**key))
        });
        self.value.matches(found) != self.invert
    }
}
