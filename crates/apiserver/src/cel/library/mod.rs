//! The functions that expressions may call.

mod format;
mod lists;
mod net;
mod numbers;
mod quantity;
mod text;
mod time;

use super::{Fault, ast::Binary, eval::Budget, eval::failed, value::Value};
pub use net::Url;
pub use quantity::{NO_QUANTITY, Quantity, canonical as canonical_quantity};
pub use time::parse_duration;

/// A value or what went wrong.
pub type Outcome = Result<Value, Fault>;

const FUNCTIONS: &[&str] = &[
    "base64.decode",
    "base64.encode",
    "bool",
    "bytes",
    "cidr",
    "double",
    "duration",
    "dyn",
    "format.named",
    "int",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isIP",
    "isQuantity",
    "isSemver",
    "isURL",
    "lists.range",
    "matches",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.isFinite",
    "math.isInf",
    "math.isNaN",
    "math.least",
    "math.round",
    "math.sign",
    "math.sqrt",
    "math.trunc",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "quantity",
    "semver",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "size",
    "string",
    "strings.quote",
    "timestamp",
    "type",
    "uint",
    "url",
];

const METHODS: &[&str] = &[
    "add",
    "asApproximateFloat",
    "asInteger",
    "charAt",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "distinct",
    "endsWith",
    "family",
    "find",
    "findAll",
    "first",
    "flatten",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getEscapedPath",
    "getFullYear",
    "getHost",
    "getHostname",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getPort",
    "getQuery",
    "getScheme",
    "getSeconds",
    "hasValue",
    "indexOf",
    "ip",
    "isGlobalUnicast",
    "isGreaterThan",
    "isInteger",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isSorted",
    "isUnspecified",
    "join",
    "last",
    "lastIndexOf",
    "lowerAscii",
    "major",
    "masked",
    "matches",
    "max",
    "min",
    "minor",
    "or",
    "orValue",
    "patch",
    "prefixLength",
    "replace",
    "reverse",
    "sign",
    "size",
    "slice",
    "sort",
    "split",
    "startsWith",
    "sub",
    "substring",
    "sum",
    "trim",
    "upperAscii",
    "validate",
    "value",
];

/// Whether there is a function of this name.
pub fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || format::is_named(name)
}

/// Whether there is a method of this name.
pub fn is_method(name: &str) -> bool {
    METHODS.contains(&name)
}

/// The type of this name.
pub fn type_named(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "bool",
        "bytes" => "bytes",
        "double" => "double",
        "int" => "int",
        "list" => "list",
        "map" => "map",
        "null_type" => "null_type",
        "string" => "string",
        "uint" => "uint",
        _ => return None,
    })
}

/// No function of this name takes these arguments.
pub fn overload<T>(name: &str, arguments: &[&Value]) -> Result<T, Fault> {
    let types: Vec<&str> = arguments.iter().map(|a| a.type_name()).collect();
    failed(format!("no such overload: {name}({})", types.join(", ")))
}

/// Calls a function.
pub fn call(name: &str, arguments: &[Value], budget: &Budget) -> Outcome {
    budget.spend(arguments.iter().map(Value::weight).sum())?;
    let found = match (name, arguments) {
        ("size", [value]) => size(value),
        ("matches", [text, pattern]) => return method(text, "matches", std::slice::from_ref(pattern), budget),
        ("dyn", [value]) => Some(Ok(value.clone())),
        ("type", [value]) => Some(Ok(Value::Type(value.type_name()))),
        ("optional.none", []) => Some(Ok(Value::Optional(None))),
        ("optional.of", [value]) => Some(Ok(Value::optional(Some(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => Some(Ok(Value::optional((!is_zero(value)).then(|| value.clone())))),
        (name, _) if name.starts_with("math.") => numbers::math(name, arguments),
        (name, _) if name.starts_with("sets.") || name.starts_with("lists.") => lists::call(name, arguments, budget),
        (name, _) if name.starts_with("format.") => format::named(name, arguments),
        _ => numbers::convert(name, arguments)
            .or_else(|| text::call(name, arguments))
            .or_else(|| time::call(name, arguments))
            .or_else(|| net::call(name, arguments))
            .or_else(|| quantity::call(name, arguments)),
    };
    found.unwrap_or_else(|| overload(name, &arguments.iter().collect::<Vec<_>>()))
}

/// Calls a method.
pub fn method(target: &Value, name: &str, arguments: &[Value], budget: &Budget) -> Outcome {
    budget.spend(target.weight() + arguments.iter().map(Value::weight).sum::<usize>())?;
    let found = match (target, name) {
        (_, "size") if arguments.is_empty() => size(target),
        (Value::Text(text), _) => text::method(text, name, arguments, budget),
        (Value::List(items), _) => lists::method(items, name, arguments, budget),
        (Value::Duration(_) | Value::Timestamp(_), _) => time::method(target, name, arguments),
        (Value::Url(_) | Value::Ip(_) | Value::Cidr(_), _) => net::method(target, name, arguments),
        (Value::Quantity(_) | Value::Semver(_), _) => quantity::method(target, name, arguments),
        (Value::Optional(inner), _) => optional(inner.as_deref(), name, arguments),
        (Value::Format(format), "validate") => format::validate(format, arguments),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let all: Vec<&Value> = std::iter::once(target).chain(arguments).collect();
        overload(name, &all)
    })
}

fn size(value: &Value) -> Option<Outcome> {
    Some(Ok(match value {
        Value::Text(text) => text.chars().count().into(),
        Value::Bytes(bytes) => bytes.len().into(),
        Value::List(items) => items.len().into(),
        Value::Map(map) => map.len().into(),
        _ => return None,
    }))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(b) => !b,
        Value::Text(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Duration(n) => *n == 0,
        other => other.same(&Value::Int(0)),
    }
}

fn optional(inner: Option<&Value>, name: &str, arguments: &[Value]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("hasValue", []) => Ok(inner.is_some().into()),
        ("value", []) => inner.cloned().map_or_else(|| failed("optional.none() dereference"), Ok),
        ("orValue", [other]) => Ok(inner.unwrap_or(other).clone()),
        ("or", [other @ Value::Optional(_)]) => {
            Ok(inner.map_or_else(|| other.clone(), |value| Value::optional(Some(value.clone()))))
        }
        _ => return None,
    })
}

/// Two sides and what is between them.
pub fn binary(operator: Binary, left: &Value, right: &Value, budget: &Budget) -> Outcome {
    let ordered = |wanted: fn(std::cmp::Ordering) -> bool| match left.order(right) {
        Some(order) => Ok(Value::Bool(wanted(order))),
        None => overload(&format!("_{}_", operator.symbol()), &[left, right]),
    };
    match operator {
        Binary::Equal => Ok(Value::Bool(left.same(right))),
        Binary::NotEqual => Ok(Value::Bool(!left.same(right))),
        Binary::Less => ordered(std::cmp::Ordering::is_lt),
        Binary::LessOrEqual => ordered(std::cmp::Ordering::is_le),
        Binary::Greater => ordered(std::cmp::Ordering::is_gt),
        Binary::GreaterOrEqual => ordered(std::cmp::Ordering::is_ge),
        Binary::In => lists::contains(left, right, budget),
        _ => numbers::arithmetic(operator, left, right, budget),
    }
}
