//! A container's environment and command line.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource};
use serde_json::Value;

use super::fields::{Addresses, Capacity, field, resource};
use super::objects::Objects;

/// What values may refer to.
pub(crate) struct Scope<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) container: &'a Container,
    pub(crate) addresses: Addresses<'a>,
    pub(crate) capacity: Capacity,
    pub(crate) objects: &'a Objects,
}

/// Variables in their order, later ones replacing earlier ones of the same name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Variables {
    list: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.places.get(name) {
            Some(place) => self.list[*place].1 = value.into(),
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value.into()));
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.list[*place].1.as_str())
    }

    pub(crate) fn into_list(self) -> Vec<(String, String)> {
        self.list
    }
}

/// Adds what `envFrom` and `env` of the container say.
pub(crate) async fn add(variables: &mut Variables, scope: &Scope<'_>) -> Result<(), String> {
    for source in scope.container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = if let Some(from) = &source.config_map_ref {
            scope.objects.config_map(&from.name, from.optional == Some(true)).await?
        } else if let Some(from) = &source.secret_ref {
            scope.objects.secret(&from.name, from.optional == Some(true)).await?
        } else {
            continue;
        };
        for (key, value) in data {
            variables.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value));
        }
    }
    for variable in scope.container.env.iter().flatten() {
        if let Some(value) = value(variable, variables, scope).await? {
            variables.set(&variable.name, value);
        }
    }
    Ok(())
}

async fn value(variable: &EnvVar, variables: &Variables, scope: &Scope<'_>) -> Result<Option<String>, String> {
    match &variable.value_from {
        Some(source) => from_source(source, scope).await,
        None => Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), variables))),
    }
}

async fn from_source(source: &EnvVarSource, scope: &Scope<'_>) -> Result<Option<String>, String> {
    if let Some(from) = &source.field_ref {
        return field(scope.pod, scope.addresses, &from.field_path).map(Some);
    }
    if let Some(from) = &source.resource_field_ref {
        return resource(scope.container, from, scope.capacity).map(Some);
    }
    let (data, kind, name, key, optional) = if let Some(from) = &source.config_map_key_ref {
        let optional = from.optional == Some(true);
        let data = scope.objects.config_map(&from.name, optional).await?;
        (data, "ConfigMap", &from.name, &from.key, optional)
    } else if let Some(from) = &source.secret_key_ref {
        let optional = from.optional == Some(true);
        (scope.objects.secret(&from.name, optional).await?, "Secret", &from.name, &from.key, optional)
    } else {
        return Ok(None);
    };
    match data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(format!("couldn't find key {key} in {kind} {}/{name}", scope.objects.namespace())),
    }
}

/// Replaces `$(NAME)` by the variable's value; `$$(` is a plain `$(`, unknown names stay.
pub(crate) fn expand(text: &str, variables: &Variables) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[..name.len() + 3]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_variables_are_replaced() {
        let mut variables = Variables::default();
        variables.set("A", "1");
        variables.set("B", "x");
        variables.set("A", "2");
        for (text, expect) in [
            ("$(A)-$(B)", "2-x"),
            ("$$(A)", "$(A)"),
            ("$(NONE)/$(A)", "$(NONE)/2"),
            ("cost: 5$", "cost: 5$"),
            ("$A $(A", "$A $(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &variables), expect, "{text:?}");
        }
        assert_eq!(variables.into_list(), [("A".into(), "2".into()), ("B".into(), "x".into())]);
    }
}
