//! Arithmetic, conversions between types, `math`.

use std::sync::Arc;

use super::{super::ast::Binary, Budget, Outcome, Value, failed, overload};

/// `+ - * / %`.
pub fn arithmetic(operator: Binary, left: &Value, right: &Value, budget: &Budget) -> Outcome {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => int(operator, *a, *b),
        (Value::Uint(a), Value::Uint(b)) => uint(operator, *a, *b),
        (Value::Double(a), Value::Double(b)) => double(operator, *a, *b, left, right),
        _ if operator == Binary::Add => {
            budget.spend(left.weight() + right.weight())?;
            add(left, right)
        }
        _ if operator == Binary::Subtract => subtract(left, right),
        _ => no(operator, left, right),
    }
}

fn no(operator: Binary, left: &Value, right: &Value) -> Outcome {
    overload(&format!("_{}_", operator.symbol()), &[left, right])
}

/// Arithmetic that fails where the result has no place in the type.
macro_rules! checked {
    ($name:ident, $number:ty, $value:path, $overflow:literal) => {
        fn $name(operator: Binary, a: $number, b: $number) -> Outcome {
            if b == 0 && operator == Binary::Divide {
                return failed("division by zero");
            }
            if b == 0 && operator == Binary::Remainder {
                return failed("modulus by zero");
            }
            let result = match operator {
                Binary::Add => a.checked_add(b),
                Binary::Subtract => a.checked_sub(b),
                Binary::Multiply => a.checked_mul(b),
                Binary::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            result.map_or_else(|| failed($overflow), |n| Ok($value(n)))
        }
    };
}

checked!(int, i64, Value::Int, "integer overflow");
checked!(uint, u64, Value::Uint, "unsigned integer overflow");

fn double(operator: Binary, a: f64, b: f64, left: &Value, right: &Value) -> Outcome {
    Ok(Value::Double(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        _ => return no(operator, left, right),
    }))
}

fn add(left: &Value, right: &Value) -> Outcome {
    Ok(match (left, right) {
        (Value::Text(a), Value::Text(b)) => format!("{a}{b}").into(),
        (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&**a, &**b].concat().into()),
        (Value::List(a), Value::List(b)) => [&**a, &**b].concat().into(),
        (Value::Duration(a), Value::Duration(b)) => return nanoseconds(a.checked_add(*b)),
        (Value::Timestamp(at), Value::Duration(n)) | (Value::Duration(n), Value::Timestamp(at)) => {
            return moved(*at, *n);
        }
        _ => return no(Binary::Add, left, right),
    })
}

fn subtract(left: &Value, right: &Value) -> Outcome {
    match (left, right) {
        (Value::Duration(a), Value::Duration(b)) => nanoseconds(a.checked_sub(*b)),
        (Value::Timestamp(at), Value::Duration(n)) => moved(*at, n.saturating_neg()),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            nanoseconds(i64::try_from(a.as_nanosecond() - b.as_nanosecond()).ok())
        }
        _ => no(Binary::Subtract, left, right),
    }
}

fn nanoseconds(n: Option<i64>) -> Outcome {
    n.map_or_else(|| failed("integer overflow"), |n| Ok(Value::Duration(n)))
}

fn moved(at: jiff::Timestamp, by: i64) -> Outcome {
    let moved = at.checked_add(jiff::SignedDuration::from_nanos(by));
    moved.map_or_else(|_| failed("timestamp overflow"), |at| Ok(Value::Timestamp(at)))
}

fn no_conversion(value: &Value, to: &str) -> Outcome {
    failed(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

/// `int(x)`, `string(x)`, ...
pub fn convert(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let [value] = arguments else { return None };
    Some(match name {
        "int" => to_int(value),
        "uint" => to_uint(value),
        "double" => to_double(value),
        "string" => to_string(value),
        "bool" => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::Text(text) => match &**text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true.into()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false.into()),
                _ => no_conversion(value, "bool"),
            },
            _ => return None,
        },
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::Text(text) => Ok(Value::Bytes(text.as_bytes().into())),
            _ => return None,
        },
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn to_int(value: &Value) -> Outcome {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(n) => i64::try_from(*n).map_or_else(|_| failed("integer overflow"), |n| Ok(Value::Int(n))),
        Value::Double(n) if n.abs() < 9.223_372_036_854_775e18 => Ok(Value::Int(*n as i64)),
        Value::Double(_) => failed("integer overflow"),
        Value::Text(text) => text.parse().map_or_else(|_| no_conversion(value, "int"), |n| Ok(Value::Int(n))),
        Value::Timestamp(at) => Ok(Value::Int(at.as_second())),
        Value::Duration(n) => Ok(Value::Int(*n)),
        other => no_conversion(other, "int"),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn to_uint(value: &Value) -> Outcome {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(n) => u64::try_from(*n).map_or_else(|_| failed("unsigned integer overflow"), |n| Ok(Value::Uint(n))),
        Value::Double(n) if *n >= 0.0 && *n < 1.844_674_407_370_955e19 => Ok(Value::Uint(*n as u64)),
        Value::Double(_) => failed("unsigned integer overflow"),
        Value::Text(text) => text.parse().map_or_else(|_| no_conversion(value, "uint"), |n| Ok(Value::Uint(n))),
        other => no_conversion(other, "uint"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
fn to_double(value: &Value) -> Outcome {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::Text(text) => text.parse().map_or_else(|_| no_conversion(value, "double"), |n| Ok(Value::Double(n))),
        other => no_conversion(other, "double"),
    }
}

fn to_string(value: &Value) -> Outcome {
    Ok(match value {
        Value::Text(_) => value.clone(),
        Value::Bool(b) => b.to_string().into(),
        Value::Int(n) => n.to_string().into(),
        Value::Uint(n) => n.to_string().into(),
        Value::Double(n) => n.to_string().into(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => return failed("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Timestamp(at) => at.to_string().into(),
        Value::Duration(n) => super::time::shown(*n).into(),
        Value::Ip(ip) => ip.to_string().into(),
        Value::Cidr(net) => net.to_string().into(),
        Value::Url(url) => url.text.clone().into(),
        Value::Type(name) => (*name).into(),
        other => return no_conversion(other, "string"),
    })
}

/// `math.*`.
pub fn math(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let list: Arc<[Value]> = match arguments {
        [Value::List(items)] => Arc::clone(items),
        other => other.to_vec().into(),
    };
    match name {
        "math.greatest" => return super::lists::extreme(&list, name, std::cmp::Ordering::is_gt),
        "math.least" => return super::lists::extreme(&list, name, std::cmp::Ordering::is_lt),
        _ => {}
    }
    match (name, arguments) {
        ("math.abs", [Value::Int(n)]) => {
            Some(n.checked_abs().map_or_else(|| failed("integer overflow"), |n| Ok(Value::Int(n))))
        }
        ("math.sign", [Value::Int(n)]) => Some(Ok(Value::Int(n.signum()))),
        ("math.abs" | "math.sign", [Value::Uint(n)]) => {
            Some(Ok(Value::Uint(if name == "math.sign" { (*n).min(1) } else { *n })))
        }
        (_, [Value::Double(n)]) => double_math(name, *n).map(Ok),
        ("math.sqrt", [other]) => Some(to_double(other).map(|n| match n {
            Value::Double(n) => Value::Double(n.sqrt()),
            other => other,
        })),
        _ => None,
    }
}

fn double_math(name: &str, n: f64) -> Option<Value> {
    Some(match name {
        "math.abs" => Value::Double(n.abs()),
        "math.ceil" => Value::Double(n.ceil()),
        "math.floor" => Value::Double(n.floor()),
        "math.round" => Value::Double(n.round()),
        "math.trunc" => Value::Double(n.trunc()),
        "math.sqrt" => Value::Double(n.sqrt()),
        "math.sign" => Value::Double(if n == 0.0 || n.is_nan() { n } else { n.signum() }),
        "math.isNaN" => n.is_nan().into(),
        "math.isInf" => n.is_infinite().into(),
        "math.isFinite" => n.is_finite().into(),
        _ => return None,
    })
}
