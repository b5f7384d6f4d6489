//! Which Services a change of a pod concerns.

use std::collections::{BTreeMap, HashMap};

use lateen_apiserver::Object;
use serde_json::Value;

use super::selects;
use crate::controllers::api::Key;

/// The Services there are and the pods as last seen.
#[derive(Default)]
pub struct Selection {
    services: BTreeMap<Key, Object>,
    pods: HashMap<Key, Object>,
}

impl Selection {
    /// A Service came, changed or went.
    pub fn service(&mut self, deleted: bool, service: &Object) {
        if deleted {
            self.services.remove(&Key::of(service));
        } else {
            self.services.insert(Key::of(service), service.clone());
        }
    }

    /// A pod came, changed or went: the Services that took it before or take it now.
    pub fn pod(&mut self, deleted: bool, pod: &Object) -> Vec<Key> {
        let key = Key::of(pod);
        let before = if deleted { self.pods.remove(&key) } else { self.pods.insert(key, pod.clone()) };
        if before.as_ref().is_some_and(|before| !deleted && same_for_services(before, pod)) {
            return Vec::new();
        }
        let either = |service: &Object| selects(service, pod) || before.as_ref().is_some_and(|b| selects(service, b));
        let namespace = Key::of(pod).namespace;
        let from = Key::new(namespace.clone(), "");
        let here = self.services.range(from..).take_while(|(key, _)| key.namespace == namespace);
        here.filter(|(_, service)| either(service)).map(|(key, _)| key.clone()).collect()
    }
}

/// Whether nothing changed that shows in an endpoint.
fn same_for_services(a: &Value, b: &Value) -> bool {
    let parts = [
        "/metadata/uid",
        "/metadata/labels",
        "/metadata/deletionTimestamp",
        "/spec/nodeName",
        "/status/podIP",
        "/status/podIPs",
        "/status/phase",
        "/status/conditions",
    ];
    parts.iter().all(|part| a.pointer(part) == b.pointer(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn service(name: &str, app: &str) -> Object {
        Arc::new(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"selector": {"app": app}}}))
    }

    fn pod(app: &str, ip: &str) -> Object {
        Arc::new(json!({"metadata": {"name": "p", "namespace": "n", "labels": {"app": app}}, "status": {"podIP": ip}}))
    }

    #[test]
    fn a_pod_concerns_the_services_that_take_it_or_took_it() {
        let mut selection = Selection::default();
        selection.service(false, &service("a", "a"));
        selection.service(false, &service("b", "b"));
        let names = |keys: Vec<Key>| keys.into_iter().map(|k| k.name).collect::<Vec<_>>();
        assert_eq!(names(selection.pod(false, &pod("a", "1"))), ["a"]);
        assert!(selection.pod(false, &pod("a", "1")).is_empty());
        assert_eq!(names(selection.pod(false, &pod("a", "2"))), ["a"]);
        assert_eq!(names(selection.pod(false, &pod("b", "2"))), ["a", "b"]);
        assert_eq!(names(selection.pod(true, &pod("b", "2"))), ["b"]);
    }
}
