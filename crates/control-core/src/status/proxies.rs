//! The proxies of a mesh: those of pods that run. Equal ones are looked at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::reads::ReadSet;
use crate::resource::Pod;
use crate::snapshot::Snapshot;
use crate::translate::Scope;
use crate::view::{ProxyKind, ProxyView};

/// Proxies whose pods have the same namespace and labels.
pub(super) struct Group {
    /// One of them.
    pub(super) view: ProxyView,
    /// How many there are.
    pub(super) count: usize,
}

/// All proxies.
pub(super) struct Proxies {
    pub(super) groups: Vec<Group>,
}

/// Proxies that see the same services, VirtualServices and rules.
pub(super) struct Reach<'a> {
    /// What they see.
    pub(super) scope: Scope<'a>,
    /// How many there are.
    pub(super) count: usize,
}

impl Proxies {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut groups: BTreeMap<(ProxyKind, &str, &BTreeMap<String, String>), Group> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for pod in snapshot.pods.values() {
            // A pod of two families is there twice.
            let Some(kind) = pod.proxy.filter(|_| seen.insert((&pod.namespace, &pod.name))) else { continue };
            let of_pod = || Group { view: view(pod, kind), count: 0 };
            groups.entry((kind, &pod.namespace, &pod.labels)).or_insert_with(of_pod).count += 1;
        }
        Proxies { groups: groups.into_values().collect() }
    }

    /// How many of them are so.
    pub(super) fn count(&self, fits: impl Fn(&ProxyView) -> bool) -> usize {
        self.groups.iter().filter(|group| fits(&group.view)).map(|group| group.count).sum()
    }

    /// The sidecars among them.
    pub(super) fn sidecars(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.view.is_sidecar())
    }

    /// Them by what they see. Labels matter only where an object chooses callers by them.
    pub(super) fn reaches<'a>(&'a self, snapshot: &'a Snapshot) -> Vec<Reach<'a>> {
        let mut all: BTreeMap<_, Reach<'a>> = BTreeMap::new();
        for Group { view, count } in &self.groups {
            let own = view.is_sidecar().then(|| snapshot.sidecar(&view.namespace, &view.labels)).flatten();
            let labels = snapshot.destination_rules.selects_callers(&view.namespace).then_some(&view.labels);
            let key = (view.kind, &view.namespace, own.map(|own| own.full_name()), labels);
            let reach = || Reach { scope: Scope::new(view, snapshot, &mut ReadSet::new()), count: 0 };
            all.entry(key).or_insert_with(reach).count += count;
        }
        all.into_values().collect()
    }
}

fn view(pod: &Pod, kind: ProxyKind) -> ProxyView {
    ProxyView {
        addresses: pod.addresses.clone(),
        pod: pod.name.clone(),
        service_account: pod.service_account.clone(),
        workload: pod.workload.clone(),
        ..ProxyView::of(kind, &pod.namespace, pod.labels.clone())
    }
}
