//! `x-kubernetes-validations`: what a schema says in expressions.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::structural::{correlated, join};
use crate::{
    cel::{self, Budget, Fault, Program, Step, Value},
    status::FieldError,
};

const MAX_DEPTH: usize = 100;

/// The rules of a schema, where it has any.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    here: Vec<Rule>,
    fields: BTreeMap<String, Rules>,
    values: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

#[derive(Clone, Debug)]
struct Rule {
    program: Program,
    message: String,
    message_program: Option<Program>,
    reason: String,
    field_path: String,
    /// Looks at the old value; only asked where there is one.
    transition: bool,
    /// `oldSelf` is an optional, absent on create.
    optional_old: bool,
}

/// A rule that is none: where it is in the schema, and why.
pub type Refused = (String, Json, String);

impl Rules {
    /// Compiles the rules of a schema at `path`; those that don't compile are listed.
    pub fn compile(schema: &Json, path: &str, refused: &mut Vec<Refused>) -> Self {
        Self::compile_at(schema, path, 0, refused)
    }

    fn compile_at(schema: &Json, path: &str, depth: usize, refused: &mut Vec<Refused>) -> Self {
        if depth > MAX_DEPTH || !schema.is_object() {
            return Self::default();
        }
        let mut inner = |schema: &Json, path: String| {
            let rules = Self::compile_at(schema, &path, depth + 1, refused);
            (!rules.is_empty()).then_some(rules)
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        let fields = properties
            .filter_map(|(key, schema)| Some((key.clone(), inner(schema, format!("{path}.properties[{key}]"))?)))
            .collect();
        let values = inner(&schema["additionalProperties"], format!("{path}.additionalProperties")).map(Box::new);
        let items = inner(&schema["items"], format!("{path}.items")).map(Box::new);
        let list = schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate();
        let here = list.filter_map(|(index, rule)| {
            Rule::compile(rule, &format!("{path}.x-kubernetes-validations[{index}]"), refused)
        });
        let here = here.collect();
        Self { here, fields, values, items }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.fields.is_empty() && self.values.is_none() && self.items.is_none()
    }

    /// What the rules refuse about an object that passes its schema; `old` is what it was.
    pub fn check(&self, schema: &Json, object: &Json, old: Option<&Json>) -> Vec<FieldError> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut check = Check { errors: Vec::new(), budget: Budget::new(cel::OBJECT_BUDGET), over: false };
        check.walk(Some(self), &Place { schema, old, path: "", root: true }, object);
        check.errors
    }

    fn at(&self, step: Step<'_>) -> Option<&Self> {
        match step {
            Step::Field(name) => self.fields.get(name),
            Step::Value(_) => self.values.as_deref(),
            Step::Item(_) => self.items.as_deref(),
        }
    }
}

impl Rule {
    fn compile(rule: &Json, path: &str, refused: &mut Vec<Refused>) -> Option<Self> {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().trim().to_owned();
        let mut compile = |key: &str, source: &str| {
            Program::compile(source, &["self", "oldSelf"])
                .map_err(|error| refused.push((format!("{path}.{key}"), source.into(), error)))
                .ok()
        };
        let program = compile("rule", &text("rule"))?;
        let message = text("messageExpression");
        let message_program = if message.is_empty() { None } else { compile("messageExpression", &message) };
        let transition = program.uses("oldSelf");
        let (message, reason, field_path) = (text("message"), text("reason"), text("fieldPath"));
        let optional_old = rule["optionalOldSelf"] == true;
        Some(Self { program, message, message_program, reason, field_path, transition, optional_old })
    }

    /// The text that names the rule.
    fn named(&self) -> &str {
        if self.message.is_empty() { self.program.source() } else { &self.message }
    }

    fn refusal(&self, place: &Place<'_>, variables: &[(&str, Value)], budget: &Budget) -> FieldError {
        let said = self.message_program.as_ref().and_then(|p| match p.evaluate(variables, budget) {
            Ok(Value::Text(text)) => Some(text.trim().to_owned()).filter(|t| !t.is_empty() && !t.contains('\n')),
            _ => None,
        });
        let text = said.unwrap_or_else(|| match self.message.as_str() {
            "" => format!("failed rule: {}", self.program.source()),
            message => message.to_owned(),
        });
        let field = place.field(&self.field_path);
        match self.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(field, &text),
            "FieldValueRequired" => FieldError::required(field, &text),
            "FieldValueDuplicate" => FieldError::duplicate(field, &place.kind()),
            _ => FieldError::invalid(field, &place.kind(), text),
        }
    }
}

/// A part of an object.
struct Place<'a> {
    schema: &'a Json,
    old: Option<&'a Json>,
    path: &'a str,
    root: bool,
}

impl Place<'_> {
    fn kind(&self) -> Json {
        self.schema["type"].as_str().unwrap_or_default().into()
    }

    fn field(&self, below: &str) -> String {
        match (self.path, below) {
            ("", "") => "<nil>".into(),
            ("", below) => below.trim_start_matches('.').to_owned(),
            (path, below) => format!("{path}{below}"),
        }
    }
}

struct Check {
    errors: Vec<FieldError>,
    budget: Budget,
    over: bool,
}

impl Check {
    /// Asks the rules of what is inside, then those of the place itself; gives its value.
    fn walk(&mut self, rules: Option<&Rules>, place: &Place<'_>, object: &Json) -> Value {
        let Some(rules) = rules else { return cel::typed(place.schema, object, place.root) };
        let value = cel::typed_with(place.schema, object, place.root, &mut |step, inner| {
            let schema = step.schema(place.schema);
            let old = place.old.and_then(|old| correlated(place.schema, old, step, inner));
            let path = match step {
                Step::Field(name) | Step::Value(name) => join(place.path, name),
                Step::Item(index) => format!("{}[{index}]", place.path),
            };
            self.walk(rules.at(step), &Place { schema, old, path: &path, root: false }, inner)
        });
        if !object.is_null() {
            for rule in &rules.here {
                self.ask(rule, place, object, &value);
            }
        }
        value
    }

    fn ask(&mut self, rule: &Rule, place: &Place<'_>, object: &Json, value: &Value) {
        let unchanged = place.old.is_some_and(|old| old == object);
        let skipped = if rule.transition { place.old.is_none() && !rule.optional_old } else { unchanged };
        if skipped || self.over {
            return;
        }
        let mut variables = vec![("self", value.clone())];
        if rule.transition {
            let old = place.old.map(|old| cel::typed(place.schema, old, place.root));
            let old = if rule.optional_old { Value::optional(old) } else { old.unwrap_or(Value::Null) };
            variables.push(("oldSelf", old));
        }
        let call = Budget::new(cel::CALL_BUDGET.min(self.budget.left()));
        let before = call.left();
        let outcome = rule.program.test(&variables, &call);
        self.over = self.budget.spend(usize::try_from(before - call.left()).unwrap_or(usize::MAX)).is_err();
        let named = rule.named();
        let text = match outcome {
            Ok(true) => return,
            Ok(false) => return self.errors.push(rule.refusal(place, &variables, &call)),
            Err(fault @ Fault::OverBudget) => {
                self.over = true;
                format!(
                    "'{fault}': no further validation rules will be run due to call cost exceeds limit for rule: {named}"
                )
            }
            Err(Fault::Failed(text)) if text.starts_with("no such overload") => format!(
                "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {named}"
            ),
            Err(Fault::Failed(text)) => format!("{text} evaluating rule: {named}"),
        };
        self.errors.push(FieldError::invalid(place.field(""), &place.kind(), text));
    }
}
