//! A server's resources, as values.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lateen_xds::server::{Catalog, Entry};

/// Type with a wildcard.
pub const CLUSTERS: &str = lateen_api::type_url::CLUSTER;
/// Type subscribed by name.
pub const ENDPOINTS: &str = lateen_api::type_url::ENDPOINT;
/// Order of the responses.
pub const ORDER: &[&str] = &[CLUSTERS, ENDPOINTS];

/// Resources by type and name; the value is version and body at once.
#[derive(Clone, Debug, Default)]
pub struct World(pub BTreeMap<(String, String), String>);

impl World {
    pub fn put(&mut self, type_url: &str, name: &str, value: &str) {
        self.0.insert((type_url.into(), name.into()), value.into());
    }

    pub fn drop(&mut self, type_url: &str, name: &str) {
        self.0.remove(&(type_url.into(), name.into()));
    }
}

impl Catalog for World {
    fn all(&mut self, type_url: &str) -> Vec<Arc<str>> {
        if type_url != CLUSTERS {
            return Vec::new();
        }
        let of_type = self.0.keys().filter(|(url, _)| url == type_url);
        of_type.map(|(_, name)| name.as_str().into()).collect()
    }

    fn get(&mut self, type_url: &str, name: &str) -> Option<Entry> {
        let value = self.0.get(&(type_url.to_owned(), name.to_owned()))?;
        Some(Entry {
            name: name.into(),
            version: value.as_str().into(),
            type_url: type_url.into(),
            body: Bytes::from(value.clone()),
        })
    }
}
