//! `string.format`, and formats by name.

use super::{Outcome, Value, failed};
use crate::{cel::value::Key, rules::names, schema::formats};

const NAMED: [&str; 15] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
    "date-time",
    "ipv4",
];

/// Whether `format.<name>()` is a format.
pub fn is_named(name: &str) -> bool {
    name.strip_prefix("format.").is_some_and(|name| NAMED.contains(&name))
}

/// `format.dns1123Label()`, `format.named("dns1123Label")`.
pub fn named(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let find = |wanted: &str| NAMED.iter().find(|known| **known == wanted).map(|known| Value::Format(known));
    match (name.strip_prefix("format.")?, arguments) {
        ("named", [Value::Text(wanted)]) => Some(Ok(Value::optional(find(wanted)))),
        (wanted, []) => find(wanted).map(Ok),
        _ => None,
    }
}

/// `format.validate(text)`: none where it is fine, otherwise what is wrong.
pub fn validate(format: &str, arguments: &[Value]) -> Option<Outcome> {
    let [Value::Text(text)] = arguments else { return None };
    let wrong = check(format, text);
    Some(Ok(Value::optional(wrong.map(|text| vec![Value::from(text)].into()))))
}

/// What is wrong with a text of a named format.
pub fn check(format: &str, text: &str) -> Option<String> {
    let full = |text: &str| text.strip_suffix('-').map_or_else(|| text.to_owned(), |prefix| format!("{prefix}a"));
    match format {
        "dns1123Label" => names::dns1123_label(text),
        "dns1123Subdomain" => names::dns1123_subdomain(text),
        "dns1035Label" => names::dns1035_label(text),
        "dns1123LabelPrefix" => names::dns1123_label(&full(text)),
        "dns1123SubdomainPrefix" => names::dns1123_subdomain(&full(text)),
        "dns1035LabelPrefix" => names::dns1035_label(&full(text)),
        "qualifiedName" => names::qualified_name(text),
        "labelValue" => names::label_value(text),
        other => {
            let other = if other == "datetime" { "date-time" } else { other };
            (!formats::fits(other, text)).then(|| format!("invalid {other}"))
        }
    }
}

/// `"%s is %d".format([...])`.
pub fn fill(template: &str, values: &[Value]) -> Outcome {
    let mut values = values.iter();
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = digits.parse::<usize>().ok().map(|p| p.min(100));
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(verb) => {
                let Some(value) = values.next() else { return failed("not enough arguments for format string") };
                match clause(verb, precision, value) {
                    Some(text) => out.push_str(&text),
                    None => {
                        return failed(format!(
                            "error during formatting: {verb:?} cannot be used with {}",
                            value.type_name()
                        ));
                    }
                }
            }
            None => return failed("unexpected end of format string"),
        }
    }
    Ok(out.into())
}

fn clause(verb: char, precision: Option<usize>, value: &Value) -> Option<String> {
    let digits = precision.unwrap_or(6);
    Some(match (verb, value) {
        ('s', _) => shown(value),
        ('d', Value::Int(n)) => n.to_string(),
        ('d', Value::Uint(n)) => n.to_string(),
        ('f', Value::Double(n)) => format!("{n:.digits$}"),
        ('d', Value::Double(n)) => n.to_string(),
        #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
        ('f', Value::Int(n)) => format!("{:.digits$}", *n as f64),
        ('e', Value::Double(n)) => scientific(*n, digits),
        ('b', Value::Int(n)) => {
            if *n < 0 {
                format!("-{:b}", n.unsigned_abs())
            } else {
                format!("{n:b}")
            }
        }
        ('b', Value::Uint(n)) => format!("{n:b}"),
        ('b', Value::Bool(b)) => u8::from(*b).to_string(),
        ('o', Value::Int(n)) => format!("{n:o}"),
        ('x', Value::Int(n)) => format!("{n:x}"),
        ('X', Value::Int(n)) => format!("{n:X}"),
        ('x', Value::Uint(n)) => format!("{n:x}"),
        ('X', Value::Uint(n)) => format!("{n:X}"),
        ('x', Value::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('x', Value::Bytes(bytes)) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Bytes(bytes)) => bytes.iter().map(|b| format!("{b:02X}")).collect(),
        _ => return None,
    })
}

/// `1.500000e+03`: an exponent with sign and two digits.
fn scientific(n: f64, digits: usize) -> String {
    let text = format!("{n:.digits$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(n) => super::time::shown(*n),
        Value::Timestamp(at) => at.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(net) => net.to_string(),
        Value::Url(url) => url.text.clone(),
        Value::Type(name) => (*name).to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entry = |(key, value): (&Key, &Value)| format!("{}: {}", key.shown(), shown(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.type_name().to_owned(),
    }
}
