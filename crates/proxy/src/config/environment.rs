//! The environment as values.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{ConfigError, duration};

/// Environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Environment {
        std::env::vars().collect()
    }

    /// A variable's value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Variables with a prefix, by the rest of their name.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing(name))
    }

    pub(super) fn parse<T: FromStr>(&self, name: &str, wanted: &'static str) -> Result<Option<T>, ConfigError> {
        self.get(name).map(|value| parse(name, value, wanted)).transpose()
    }

    pub(super) fn truth(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "TRUE" | "True" | "1" | "t" | "T"))
    }

    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let value = duration::parse(text);
        value.map(Some).ok_or_else(|| invalid(name, text, "duration such as 30s"))
    }

    pub(super) fn json_object(&self, name: &str) -> Result<Map<String, Value>, ConfigError> {
        let Some(text) = self.get(name) else {
            return Ok(Map::new());
        };
        serde_json::from_str(text).map_err(|_| invalid(name, text, "JSON object"))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Environment {
        Environment(variables.into_iter().collect())
    }
}

pub(super) fn parse<T: FromStr>(name: &str, value: &str, wanted: &'static str) -> Result<T, ConfigError> {
    value.parse().map_err(|_| invalid(name, value, wanted))
}

pub(super) fn invalid(name: &str, value: &str, wanted: &'static str) -> ConfigError {
    ConfigError::Invalid { name: name.to_owned(), value: value.to_owned(), wanted }
}
