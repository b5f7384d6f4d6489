//! VirtualServices in force: those with delegates are merged when either side changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::istio as api;

use super::Store;
use crate::reads::Changes;
use crate::resource::{Config, Key, Kind, Resource};
use crate::snapshot::delegation::{self, Found};

impl Store {
    pub(super) fn update_virtual_service(&mut self, key: &Key, old: Option<&Resource>, changes: &mut Changes) {
        let new = self.virtual_service(key);
        let was_delegate = old.and_then(Resource::virtual_service).is_some_and(|c| delegation::is_delegate(&c.spec));
        let is_delegate = new.is_some_and(|c| delegation::is_delegate(&c.spec));
        let mut touched: BTreeSet<Key> = BTreeSet::from([key.clone()]);
        if was_delegate || is_delegate {
            touched.extend(self.roots_of(key));
        }
        touched.iter().for_each(|key| self.put_virtual_service(key, changes));
        let delegated = |c: &Config<api::VirtualService>| delegation::delegates(&c.spec);
        let was_root = old.and_then(Resource::virtual_service).is_some_and(delegated);
        if was_delegate || is_delegate || was_root || self.virtual_service(key).is_some_and(delegated) {
            self.update_delegates();
        }
    }

    /// Merges anew all that delegate: whether a delegate is visible may depend on the settings of the mesh.
    pub(super) fn update_roots(&mut self, changes: &mut Changes) {
        let roots: Vec<Key> = self.roots().map(|(key, _)| key.clone()).collect();
        roots.iter().for_each(|key| self.put_virtual_service(key, changes));
    }

    /// Notes who delegates to whom.
    fn update_delegates(&mut self) {
        let all = self.of_kind(Kind::VirtualService).filter_map(|(key, r)| Some((key, r.virtual_service()?)));
        let delegates = all.filter(|(_, config)| delegation::is_delegate(&config.spec));
        let mut delegates: BTreeMap<Key, BTreeSet<Key>> =
            delegates.map(|(key, _)| (key.clone(), BTreeSet::new())).collect();
        for (key, config) in self.roots() {
            for delegate in config.spec.http.iter().filter_map(|route| route.delegate.as_ref()) {
                let (namespace, name) = delegation::target(delegate, &config.meta.namespace);
                if let Some(roots) = delegates.get_mut(&Key::new(Kind::VirtualService, namespace, name)) {
                    roots.insert(key.clone());
                }
            }
        }
        self.state.delegates = Arc::new(delegates);
    }

    fn virtual_service(&self, key: &Key) -> Option<&Config<api::VirtualService>> {
        self.objects.get(key).and_then(Resource::virtual_service)
    }

    fn roots(&self) -> impl Iterator<Item = (&Key, &Config<api::VirtualService>)> {
        let all = self.of_kind(Kind::VirtualService).filter_map(|(key, r)| Some((key, r.virtual_service()?)));
        all.filter(|(_, config)| delegation::delegates(&config.spec))
    }

    fn roots_of(&self, delegate: &Key) -> Vec<Key> {
        let wanted = (delegate.namespace.as_str(), delegate.name.as_str());
        let refers = |config: &Config<api::VirtualService>| {
            let mut to = config.spec.http.iter().filter_map(|route| route.delegate.as_ref());
            to.any(|to| delegation::target(to, &config.meta.namespace) == wanted)
        };
        self.roots().filter(|(_, config)| refers(config)).map(|(key, _)| key.clone()).collect()
    }

    fn put_virtual_service(&mut self, key: &Key, changes: &mut Changes) {
        let mut findings = Vec::new();
        let in_force = self.virtual_service(key).filter(|c| !delegation::is_delegate(&c.spec)).map(|config| {
            if !delegation::delegates(&config.spec) {
                return config.clone();
            }
            let merged = delegation::merge(config, |namespace, name| self.delegate(config, namespace, name));
            findings = merged.findings;
            merged.config
        });
        Arc::make_mut(&mut self.state.virtual_services).replace(key, in_force, changes);
        if findings.is_empty() && !self.state.delegation_findings.contains_key(key) {
            return;
        }
        let all = Arc::make_mut(&mut self.state.delegation_findings);
        all.remove(key);
        if !findings.is_empty() {
            all.insert(key.clone(), findings);
        }
    }

    fn delegate(&self, root: &Config<api::VirtualService>, namespace: &str, name: &str) -> Found<'_> {
        let Some(found) = self.virtual_service(&Key::new(Kind::VirtualService, namespace, name)) else {
            return Found::Missing;
        };
        if !delegation::is_delegate(&found.spec) {
            return Found::NotADelegate;
        }
        let visible = self.state.sees_virtual_service(&root.meta.namespace, namespace, &found.spec.export_to);
        if visible { Found::Delegate(found) } else { Found::Hidden }
    }
}
