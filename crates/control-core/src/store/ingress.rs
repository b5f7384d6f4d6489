use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_mesh::Hostname;

use super::{Store, replace_by_age};
use crate::reads::{Changes, Fact};
use crate::resource::{Ingress, Key, Kind, Resource, virtual_services_of_ingresses};

/// Domain of the cluster.
const DOMAIN: &str = "cluster.local";

impl Store {
    /// Makes the Gateways and VirtualServices of all Ingresses anew.
    pub(super) fn update_ingresses(&mut self, changes: &mut Changes) {
        let mesh = self.state.mesh.clone();
        let mut served: Vec<&Ingress> = self.of_kind(Kind::Ingress).filter_map(|(_, r)| self.served(r)).collect();
        served.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
        let gateways: Vec<_> = served.iter().map(|ingress| ingress.gateway(&mesh)).collect();
        let port = |namespace: &str, service: &str, name: &str| {
            let host = Hostname::resolve(service, namespace, DOMAIN);
            let service = self.state.services.of_host(&host).first()?;
            service.ports.iter().find(|port| port.name == name).map(|port| u32::from(port.number))
        };
        let services = virtual_services_of_ingresses(&served, &mesh, DOMAIN, port);
        let key = |kind: Kind, meta: &crate::resource::Meta| Key::new(kind, &meta.namespace, &meta.name);
        let made: BTreeSet<Key> = gateways
            .iter()
            .map(|gateway| key(Kind::Gateway, &gateway.meta))
            .chain(services.iter().map(|vs| key(Kind::VirtualService, &vs.meta)))
            .collect();
        if made.is_empty() && self.of_ingresses.is_empty() {
            return;
        }
        let state = &mut self.state;
        let gone = |namespace: &str, name: &str, kind: Kind| !made.contains(&Key::new(kind, namespace, name));
        for old in std::mem::take(&mut self.of_ingresses) {
            match old.kind {
                Kind::Gateway if gone(&old.namespace, &old.name, old.kind) => {
                    replace_by_age(Arc::make_mut(&mut state.gateways), &old, None);
                }
                Kind::VirtualService if gone(&old.namespace, &old.name, old.kind) => {
                    Arc::make_mut(&mut state.virtual_services).replace(&old, None, changes);
                }
                _ => {}
            }
        }
        for gateway in gateways {
            let key = key(Kind::Gateway, &gateway.meta);
            replace_by_age(Arc::make_mut(&mut state.gateways), &key, Some(gateway));
        }
        for vs in services {
            let key = key(Kind::VirtualService, &vs.meta);
            Arc::make_mut(&mut state.virtual_services).replace(&key, Some(vs), changes);
        }
        self.of_ingresses = made;
        changes.add(Fact::Gateways);
    }

    fn served<'r>(&self, resource: &'r Resource) -> Option<&'r Ingress> {
        let Resource::Ingress(ingress) = resource else { return None };
        let class = ingress.class.as_ref().and_then(|name| self.get(&Key::new(Kind::IngressClass, "", name)));
        let controller = match class {
            Some(Resource::IngressClass(controller)) => Some(controller.as_str()),
            // A class that isn't there is nobody's.
            _ => ingress.class.as_ref().map(|_| ""),
        };
        ingress.is_served(&self.state.mesh, controller).then_some(&**ingress)
    }
}
