//! What becomes of each object: on how many proxies it is in effect, and what of it is not, and why.
//!
//! [`reports`] is a function of the snapshot. The proxies it counts are those of the pods that run; whether each has
//! taken what it was sent, only its connection tells.

mod condition;
mod destination_rule;
mod fault;
mod gateway;
mod policy;
mod proxies;
mod service_entry;
mod sidecar;
#[cfg(test)]
mod tests;
mod virtual_service;

pub use condition::{CONDITION, set_condition, unsupported};
pub use fault::{Fault, Reason};

use std::collections::BTreeMap;

use crate::resource::Key;
use crate::snapshot::Snapshot;
use proxies::{Proxies, Reach};

/// What becomes of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The generation of the object that this is about.
    pub generation: i64,
    /// Proxies on which it has an effect.
    pub proxies: usize,
    /// What of it is without effect.
    pub faults: Vec<Fault>,
}

/// What becomes of every object whose status is written.
pub fn reports(snapshot: &Snapshot) -> BTreeMap<Key, Report> {
    let proxies = Proxies::of(snapshot);
    let reaches = proxies.reaches(snapshot);
    let gateways = gateway::Served::new(&proxies, snapshot);
    let judge = Judge { snapshot, proxies: &proxies, reaches: &reaches, gateways: &gateways };
    let mut all = BTreeMap::new();
    gateway::judge(&judge, &mut all);
    virtual_service::judge(&judge, &mut all);
    destination_rule::judge(&judge, &mut all);
    service_entry::judge(&judge, &mut all);
    sidecar::judge(&judge, &mut all);
    policy::judge(&judge, &mut all);
    // Some are made of other objects, such as Ingresses.
    all.retain(|key, _| snapshot.declared.contains_key(key));
    for (key, declared) in snapshot.declared.iter() {
        if let Some(reason) = &declared.refused {
            let text = format!("the object cannot be read ({reason}); what was last read of it stays in effect");
            all.entry(key.clone()).or_default().faults.push(Fault::new(fault::UNREADABLE, text));
        }
        if let Some(report) = all.get_mut(key) {
            report.generation = declared.generation;
        }
    }
    all
}

/// What objects are judged by.
struct Judge<'a> {
    snapshot: &'a Snapshot,
    proxies: &'a Proxies,
    /// Proxies that see the same.
    reaches: &'a [Reach<'a>],
    gateways: &'a gateway::Served<'a>,
}

impl Report {
    fn new(proxies: usize, mut faults: Vec<Fault>) -> Self {
        if proxies == 0 && faults.is_empty() {
            faults.push(Fault::new(fault::NO_PROXIES, "no pod that it is for has a proxy".into()));
        }
        Report { generation: 0, proxies, faults }
    }
}
