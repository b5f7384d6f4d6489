//! Label and field selectors.

use serde_json::{Map, Value};

use crate::{registry::Resource, status::Status};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// A label selector; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    tests: Vec<(String, Test)>,
}

impl LabelSelector {
    /// Parses the text form: `app=x,tier!=y,env in (a,b),!old,new`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tests = Vec::new();
        for part in split_requirements(text) {
            let part = part.trim();
            if !part.is_empty() {
                tests.push(requirement(part)?);
            }
        }
        Ok(Self { tests })
    }

    /// Reads a LabelSelector object; an absent one matches everything here.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let mut tests = Vec::new();
        for (key, value) in value["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            tests.push((key.clone(), Test::In(vec![value])));
        }
        for expression in value["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let test = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            tests.push((key, test));
        }
        Ok(Self { tests })
    }

    /// Whether labels satisfy the selector.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.tests.iter().all(|(key, test)| {
            let value = labels.and_then(|l| l.get(key)).and_then(Value::as_str);
            match (test, value) {
                (Test::In(values), Some(v)) => values.iter().any(|x| x == v),
                (Test::NotIn(values), v) => v.is_none_or(|v| !values.iter().any(|x| x == v)),
                (Test::Exists, v) => v.is_some(),
                (Test::Absent, v) => v.is_none(),
                (Test::Greater(n), Some(v)) => v.parse::<i64>().is_ok_and(|v| v > *n),
                (Test::Less(n), Some(v)) => v.parse::<i64>().is_ok_and(|v| v < *n),
                (Test::In(_) | Test::Greater(_) | Test::Less(_), None) => false,
            }
        })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }
}

fn split_requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<(String, Test), String> {
    let bad = |text: &str| format!("unable to parse requirement: {text}");
    let check = |key: &str| {
        crate::rules::names::qualified_name(key)
            .map_or(Ok(key.to_owned()), |e| Err(bad(&format!("<nil>: Invalid value: {key:?}: {e}"))))
    };
    if let Some(key) = part.strip_prefix('!') {
        return Ok((check(key.trim())?, Test::Absent));
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let values = vec![value.trim().to_owned()];
            if let Some(e) = crate::rules::names::label_value(value.trim()) {
                return Err(bad(&format!("values[0][{key}]: Invalid value: {:?}: {e}", value.trim())));
            }
            let test = if negative { Test::NotIn(values) } else { Test::In(values) };
            return Ok((check(key.trim())?, test));
        }
    }
    for (operator, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let number = value.trim().parse().map_err(|_| bad("value must be an integer"))?;
            let test = if greater { Test::Greater(number) } else { Test::Less(number) };
            return Ok((check(key.trim())?, test));
        }
    }
    let mut words = part.splitn(2, char::is_whitespace);
    let key = words.next().unwrap_or_default();
    let Some(rest) = words.next().map(str::trim) else {
        return Ok((check(key)?, Test::Exists));
    };
    let (rest, negative) = match rest.strip_prefix("notin") {
        Some(rest) => (rest, true),
        None => (rest.strip_prefix("in").ok_or_else(|| bad(part))?, false),
    };
    let values = rest.trim().strip_prefix('(').and_then(|r| r.strip_suffix(')'));
    let values = values.ok_or_else(|| bad(&format!("expected a list in parentheses: {part}")))?;
    let values = values.split(',').map(|v| v.trim().to_owned()).collect();
    Ok((check(key)?, if negative { Test::NotIn(values) } else { Test::In(values) }))
}

/// A field selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    tests: Vec<(String, String, bool)>,
}

const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.custom, resource.plural.as_str()) {
        (false, "pods") => POD_FIELDS,
        (false, "events") => EVENT_FIELDS,
        (false, "secrets") => &["type"],
        (false, "services") => &["spec.clusterIP", "spec.type"],
        (false, "namespaces") => &["status.phase"],
        (false, "nodes") => &["spec.unschedulable"],
        (false, "replicasets") => &["status.replicas"],
        (false, "jobs") => &["status.successful"],
        _ => &[],
    }
}

impl FieldSelector {
    /// Parses `a=b,c!=d`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tests = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (key, value, equal) = if let Some((k, v)) = part.split_once("!=") {
                (k, v, false)
            } else if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (k, v, true)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            tests.push((key.trim().to_owned(), value.trim().to_owned(), equal));
        }
        Ok(Self { tests })
    }

    /// Selects the objects of a name.
    pub fn named(name: &str) -> Self {
        Self { tests: vec![("metadata.name".to_owned(), name.to_owned(), true)] }
    }

    /// The value that a field must have, where the selector says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.tests.iter().find(|(key, _, equal)| key == field && *equal).map(|(_, value, _)| value.as_str())
    }

    /// Refuses fields that the resource cannot be selected by.
    pub fn check(&self, resource: &Resource) -> Result<(), Status> {
        for (key, _, _) in &self.tests {
            let known = matches!(key.as_str(), "metadata.name" | "metadata.namespace")
                || fields(resource).contains(&key.as_str())
                || resource.versions.iter().any(|v| v.selectable.contains(key));
            if !known {
                return Err(Status::bad_request(format!("field label not supported: {key}")));
            }
        }
        Ok(())
    }

    /// Whether an object (in its stored form) satisfies the selector.
    pub fn matches(&self, object: &Value) -> bool {
        self.tests.iter().all(|(key, wanted, equal)| {
            let key = key.replacen("regarding.", "involvedObject.", 1);
            let key = if key == "source" { "source.component" } else { &key };
            let mut at = object;
            for step in key.split('.') {
                at = &at[step];
            }
            let found = match at {
                Value::String(s) => s.clone(),
                Value::Null if key.ends_with("hostNetwork") || key.ends_with("unschedulable") => "false".into(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (found == *wanted) == *equal
        })
    }

    /// The name that the selector asks for, if it asks for one.
    pub fn name(&self) -> Option<&str> {
        self.tests.iter().find(|(key, _, equal)| key == "metadata.name" && *equal).map(|(_, value, _)| value.as_str())
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_select() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app!=web", false),
            ("other!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("app", true),
            ("!app", false),
            ("!gone,app", true),
            ("n>4", true),
            ("n<4", false),
        ];
        for (text, expected) in cases {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(labels.as_object()), expected, "{text}");
        }
        for text in ["app in web", "a b c", "=x", "app=web/x"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn field_selectors_select() {
        let event = json!({"metadata": {"name": "e"}, "involvedObject": {"name": "pod-a"}});
        let cases = [
            ("involvedObject.name=pod-a", true),
            ("involvedObject.name=pod-a,metadata.name!=e", false),
            ("involvedObject.uid=", true),
        ];
        for (text, expected) in cases {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(&event), expected, "{text}");
        }
    }
}
