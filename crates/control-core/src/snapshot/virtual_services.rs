use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use super::{WILDCARDS, destinations};
use crate::reads::{Changes, Fact};
use crate::resource::{Config, Key};

/// VirtualServices in force, by age and by host.
#[derive(Clone, Debug, Default)]
pub struct VirtualServices {
    by_age: Vec<Arc<Config<api::VirtualService>>>,
    /// Oldest first for each host.
    by_host: BTreeMap<Hostname, Vec<Arc<Config<api::VirtualService>>>>,
}

impl VirtualServices {
    /// Puts an object in place of the one of the same name, and says what that changes.
    pub(crate) fn replace(&mut self, key: &Key, new: Option<Config<api::VirtualService>>, changes: &mut Changes) {
        let old = self.remove(key);
        changes.add(Fact::VirtualServices);
        if old.as_deref().map(Reach::of) != new.as_ref().map(Reach::of) {
            changes.add(Fact::Reach);
        }
        if let Some(new) = new {
            self.insert(Arc::new(new));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Config<api::VirtualService>>> {
        let at = self.by_age.iter().position(|vs| is_named(vs, key))?;
        let old = self.by_age.remove(at);
        for host in hosts(&old) {
            if let Some(list) = self.by_host.get_mut(&host) {
                list.retain(|vs| !is_named(vs, key));
                if list.is_empty() {
                    self.by_host.remove(&host);
                }
            }
        }
        Some(old)
    }

    fn insert(&mut self, new: Arc<Config<api::VirtualService>>) {
        for host in hosts(&new) {
            let list = self.by_host.entry(host).or_default();
            if !list.iter().any(|vs| Arc::ptr_eq(vs, &new)) {
                insert(list, new.clone());
            }
        }
        insert(&mut self.by_age, new);
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Config<api::VirtualService>> {
        self.by_age.iter().map(|vs| &**vs)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Those with a host that stands for `host`, with that host of theirs; for each such host oldest first.
    pub fn covering<'a, 'h>(
        &'a self,
        host: &'h Hostname,
    ) -> impl Iterator<Item = (&'a Hostname, &'a Config<api::VirtualService>)> + use<'a, 'h> {
        let same = self.by_host.get_key_value(host);
        let wildcards =
            self.by_host.range::<str, _>(WILDCARDS).filter(move |(own, _)| own.covers(host) && *own != host);
        same.into_iter().chain(wildcards).flat_map(|(own, list)| list.iter().map(move |vs| (own, &**vs)))
    }
}

/// What a VirtualService says to [`Fact::Reach`].
#[derive(PartialEq)]
struct Reach<'a> {
    gateways: &'a [String],
    hosts: &'a [String],
    export_to: &'a [String],
    destinations: BTreeSet<(&'a str, Option<u32>)>,
}

impl<'a> Reach<'a> {
    fn of(vs: &'a Config<api::VirtualService>) -> Self {
        let api::VirtualService { gateways, hosts, export_to, .. } = &*vs.spec;
        let port = |to: &api::Destination| to.port.as_ref().map(|port| port.number);
        let destinations = destinations(&vs.spec).map(|(_, to)| (to.host.as_str(), port(to))).collect();
        Self { gateways, hosts, export_to, destinations }
    }
}

fn is_named(vs: &Config<api::VirtualService>, key: &Key) -> bool {
    vs.meta.name == key.name && vs.meta.namespace == key.namespace
}

fn insert(list: &mut Vec<Arc<Config<api::VirtualService>>>, new: Arc<Config<api::VirtualService>>) {
    let at = list.partition_point(|vs| vs.meta.age_order() < new.meta.age_order());
    list.insert(at, new);
}

/// The hosts of a VirtualService, completed.
pub fn hosts(vs: &Config<api::VirtualService>) -> impl Iterator<Item = Hostname> {
    vs.spec.hosts.iter().map(|h| Hostname::resolve(h, &vs.meta.namespace, "cluster.local"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Kind, Meta};

    fn put(all: &mut VirtualServices, name: &str, created: &str, hosts: &[&str]) {
        let meta = Meta { name: name.into(), namespace: "a".into(), created: created.into(), ..Meta::default() };
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let spec = Arc::new(api::VirtualService { hosts, ..Default::default() });
        all.replace(&key(name), Some(Config { meta, spec, allocated: Vec::new() }), &mut Changes::default());
    }

    fn key(name: &str) -> Key {
        Key::new(Kind::VirtualService, "a", name)
    }

    fn covering(all: &VirtualServices, host: &str) -> Vec<(String, String)> {
        let host = Hostname::new(host);
        all.covering(&host).map(|(own, vs)| (own.to_string(), vs.meta.name.clone())).collect()
    }

    fn pair(host: &str, name: &str) -> (String, String) {
        (host.to_owned(), name.to_owned())
    }

    #[test]
    fn those_of_a_host_and_of_wildcards_are_found_by_age() {
        let mut all = VirtualServices::default();
        put(&mut all, "young", "2", &["reviews"]);
        put(&mut all, "old", "1", &["reviews", "reviews", "*.b.org"]);
        put(&mut all, "any", "3", &["*"]);
        let reviews = "reviews.a.svc.cluster.local";
        assert_eq!(covering(&all, reviews), [pair(reviews, "old"), pair(reviews, "young"), pair("*", "any")]);
        assert_eq!(covering(&all, "*.b.org"), [pair("*.b.org", "old"), pair("*", "any")]);
        assert_eq!(covering(&all, "*.org"), [pair("*", "any")]);

        put(&mut all, "old", "1", &["ratings"]);
        all.replace(&key("any"), None, &mut Changes::default());
        assert_eq!(covering(&all, reviews), [pair(reviews, "young")]);
        assert_eq!(covering(&all, "x.b.org"), []);
        assert_eq!(all.iter().map(|vs| vs.meta.name.as_str()).collect::<Vec<_>>(), ["old", "young"]);
    }
}
