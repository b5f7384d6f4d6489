//! Header changes.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::istio as api;

/// Changes to the headers of requests or responses.
#[derive(Default)]
pub struct Operations {
    /// Set and added.
    pub add: Vec<core::HeaderValueOption>,
    /// Removed.
    pub remove: Vec<String>,
    /// A new host, if the host header is set.
    pub host: Option<String>,
}

/// The changes in Envoy's words: what is set comes before what is added.
pub fn operations(wanted: Option<&api::HeaderOperations>) -> Operations {
    use core::header_value_option::HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
    let Some(wanted) = wanted else { return Operations::default() };
    let is_host = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let option = |(name, value): (&String, &String), action: core::header_value_option::HeaderAppendAction| {
        core::HeaderValueOption {
            header: Some(core::HeaderValue { key: name.clone(), value: value.clone(), ..Default::default() }),
            append_action: action.into(),
            ..Default::default()
        }
    };
    let set = wanted.set.iter().filter(|(name, _)| !is_host(name)).map(|h| option(h, OverwriteIfExistsOrAdd));
    let added = wanted.add.iter().filter(|(name, _)| !is_host(name)).map(|h| option(h, AppendIfExistsOrAdd));
    Operations {
        add: set.chain(added).collect(),
        remove: wanted.remove.iter().filter(|name| !is_host(name) && !name.starts_with(':')).cloned().collect(),
        host: wanted.set.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone()),
    }
}
