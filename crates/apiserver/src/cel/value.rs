//! Values of expressions.

use std::{cmp::Ordering, collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use jiff::Timestamp;

use super::library::{Quantity, Url};

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint`
    Uint(u64),
    /// `double`
    Double(f64),
    /// `string`
    Text(Arc<str>),
    /// `bytes`
    Bytes(Arc<[u8]>),
    /// `list`
    List(Arc<[Value]>),
    /// `map`, also any object.
    Map(Arc<BTreeMap<Key, Value>>),
    /// Nanoseconds.
    Duration(i64),
    /// `timestamp`
    Timestamp(Timestamp),
    /// `optional`
    Optional(Option<Arc<Value>>),
    /// A type, by its name.
    Type(&'static str),
    /// `url`
    Url(Arc<Url>),
    /// `ip`
    Ip(IpAddr),
    /// `cidr`
    Cidr(IpNet),
    /// `quantity`
    Quantity(Arc<Quantity>),
    /// `semver`: major, minor, patch, what follows.
    Semver(Arc<(u64, u64, u64, String)>),
    /// `format.<name>()`
    Format(&'static str),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint` that is no int
    Uint(u64),
    /// `string`
    Text(Arc<str>),
}

impl Key {
    /// The key that a value is, if it can be one.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Int(*n),
            Value::Uint(n) => i64::try_from(*n).map_or(Self::Uint(*n), Self::Int),
            #[expect(clippy::cast_possible_truncation, reason = "the guard says that it is whole")]
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => Self::Int(*n as i64),
            Value::Text(text) => Self::Text(Arc::clone(text)),
            _ => return None,
        })
    }

    /// A field's name.
    pub fn text(name: &str) -> Self {
        Self::Text(name.into())
    }

    /// As a value.
    pub fn value(&self) -> Value {
        match self {
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(n) => Value::Int(*n),
            Self::Uint(n) => Value::Uint(*n),
            Self::Text(text) => Value::Text(Arc::clone(text)),
        }
    }

    /// For messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Bool(b) => b.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Uint(n) => n.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items.into())
    }
}

impl Value {
    /// `optional.of` or `optional.none`.
    pub fn optional(value: Option<Value>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// How much there is of it, for the budget.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len() / 10 + 1,
            Self::Bytes(bytes) => bytes.len() / 10 + 1,
            Self::List(items) => items.len() + 1,
            Self::Map(map) => map.len() + 1,
            _ => 1,
        }
    }

    /// Equality, across the types of numbers too.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(b)),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value.same(other)))
            }
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            },
            (Self::Type(a), Self::Type(b)) | (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Order, where two values have one.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Self::Quantity(b)) => Some(a.cmp(b)),
            (Self::Semver(a), Self::Semver(b)) => Some(order_versions(a, b)),
            _ => self.order_numbers(other),
        }
    }

    fn order_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => a.partial_cmp(&b.whole()?.1),
            (a, Self::Double(b)) => a.whole()?.1.partial_cmp(b),
            (a, b) => Some(a.whole()?.0.cmp(&b.whole()?.0)),
        }
    }

    /// A whole number, exactly and as a double.
    #[expect(clippy::cast_precision_loss, reason = "comparing with a double is inexact by nature")]
    fn whole(&self) -> Option<(i128, f64)> {
        match self {
            Self::Int(n) => Some((i128::from(*n), *n as f64)),
            Self::Uint(n) => Some((i128::from(*n), *n as f64)),
            _ => None,
        }
    }
}

type Version = (u64, u64, u64, String);

/// A version before its release is older than the release.
fn order_versions(a: &Version, b: &Version) -> Ordering {
    let numbers = |v: &Version| (v.0, v.1, v.2);
    numbers(a).cmp(&numbers(b)).then_with(|| match (a.3.as_str(), b.3.as_str()) {
        (x, y) if x == y => Ordering::Equal,
        ("", _) => Ordering::Greater,
        (_, "") => Ordering::Less,
        (x, y) => order_prereleases(x, y),
    })
}

fn order_prereleases(a: &str, b: &str) -> Ordering {
    let part = |text: &str| text.parse::<u64>().map_err(|_| text.to_owned());
    let parts = |text: &str| text.split('.').map(part).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    for (x, y) in a.iter().zip(&b) {
        // Numbers come before words.
        let order = match (x, y) {
            (Ok(x), Ok(y)) => x.cmp(y),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(x), Err(y)) => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}
