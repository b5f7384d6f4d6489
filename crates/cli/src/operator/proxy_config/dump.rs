//! A proxy's configuration dump, by section.

use serde_json::Value;

use super::Target;
use crate::operator::kubectl;

/// What the admin port's `/config_dump` says.
pub struct Dump {
    whole: Value,
}

impl Dump {
    /// Asks the proxy of the workload.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of(target: &Target) -> anyhow::Result<Self> {
        let (workload, namespace) = match (&target.namespace, target.workload.split_once('.')) {
            (Some(namespace), _) => (target.workload.as_str(), namespace.as_str()),
            (None, Some((pod, namespace))) if !pod.contains('/') => (pod, namespace),
            _ => (target.workload.as_str(), "default"),
        };
        let whole = kubectl::get_json_inside(namespace, workload, "istio-proxy", 15000, "/config_dump?include_eds")?;
        Ok(Self { whole })
    }

    /// The dump as it is.
    pub fn whole(&self) -> &Value {
        &self.whole
    }

    /// The entries of the lists called `lists` in the section whose type ends in `section`.
    pub fn entries<'a>(&'a self, section: &'a str, lists: &'a [&'a str]) -> impl Iterator<Item = &'a Value> {
        let sections = self.whole["configs"].as_array().into_iter().flatten();
        sections
            .filter(move |config| config["@type"].as_str().is_some_and(|name| name.ends_with(section)))
            .flat_map(move |config| lists.iter().filter_map(|list| config[*list].as_array()).flatten())
    }
}
