//! What tokens leave for others: claims as metadata and as headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The claims; those that are lists separated by blanks become lists.
pub fn normalized(payload: &Map<String, Value>, space_delimited: &[Box<str>]) -> Value {
    let mut claims = payload.clone();
    for name in space_delimited {
        if let Some(Value::String(text)) = claims.get(&**name) {
            let list = text.split(' ').filter(|part| !part.is_empty()).map(Value::from).collect();
            claims.insert(name.to_string(), Value::Array(list));
        }
    }
    Value::Object(claims)
}

/// A claim as the value of a header; `None` when there is nothing to write.
pub fn header_value(payload: &Map<String, Value>, path: &[Box<str>]) -> Option<Vec<u8>> {
    let (first, rest) = path.split_first()?;
    let value = rest.iter().try_fold(payload.get(&**first)?, |value, key| value.as_object()?.get(&**key))?;
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number_text(number),
        Value::Array(_) | Value::Object(_) => STANDARD.encode(value.to_string()),
    };
    // A line break would end the header.
    let writable = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    writable.then(|| text.into_bytes())
}

/// Whole numbers without fraction.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15 => (float as i64).to_string(),
        _ => number.to_string(),
    }
}
