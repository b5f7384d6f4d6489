//! The controllers of the local cluster: each makes the world as objects of its kind want it.

mod api;
mod deployment;
mod endpoints;
mod follow;
mod garbage;
mod job;
mod mirror;
mod namespace;
pub mod object;
mod pods;
pub mod queue;
mod replica_set;
mod scheduler;
pub mod selector;
mod service_account;

use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_apiserver::{Client, EventType, Gvr, Object, gvr};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use self::api::{Api, Key};
use self::follow::follow;
use self::object::Meta;
use self::queue::{Queue, Reconcile, start};
use crate::clock::Clock;
use crate::events::Recorder;

pub use endpoints::SERVICE_NAME;
pub use mirror::Mirror;

/// Keys of one controller worked on at the same time: enough that a slow admission webhook in one
/// namespace doesn't hold up the others.
const WORKERS: usize = 8;

/// Start all controllers. They end when the result is dropped.
///
/// `root_ca` is the API server's root certificate in PEM, for every namespace's
/// `kube-root-ca.crt`.
#[must_use]
pub fn run(client: &Client, clock: &Clock, root_ca: &str) -> JoinSet<()> {
    let events = Recorder::start(client.clone(), "controllermanager", clock.clone());
    let mut all = Start { tasks: JoinSet::new(), api: Api { client: client.clone() }, events, clock: clock.clone() };
    all.namespaces(root_ca);
    all.scheduler();
    all.replica_sets();
    all.deployments();
    all.jobs();
    all.endpoints();
    all.garbage();
    all.tasks
}

struct Start {
    tasks: JoinSet<()>,
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl Start {
    fn start<R: Reconcile>(&mut self, reconciler: R) -> Arc<Queue<R::Key>> {
        let queue = Arc::new(Queue::default());
        start(&mut self.tasks, reconciler, &queue, WORKERS);
        queue
    }

    /// Feed the keys that `keys` makes of each event.
    fn feed<I: IntoIterator<Item = Key>>(
        &mut self,
        queue: &Arc<Queue<Key>>,
        gvr: &Gvr,
        mut keys: impl FnMut(EventType, &Object) -> I + Send + 'static,
    ) {
        let queue = Arc::clone(queue);
        follow(&mut self.tasks, &self.api.client, gvr, move |kind, object| {
            keys(kind, object).into_iter().for_each(|key| queue.add(key));
        });
    }

    fn namespaces(&mut self, root_ca: &str) {
        use service_account::{DEFAULT_ACCOUNT, NamespaceBasics, ROOT_CA};
        let basics = self.start(NamespaceBasics::new(self.api.clone(), root_ca.to_owned()));
        self.feed(&basics, &gvr::NAMESPACES, |_, namespace| [Key::of(namespace)]);
        for (gvr, name) in [(&gvr::SERVICE_ACCOUNTS, DEFAULT_ACCOUNT), (&gvr::CONFIG_MAPS, ROOT_CA)] {
            self.feed(&basics, gvr, move |kind, object| {
                let changed = kind != EventType::Added && object.name() == name;
                changed.then(|| Key::new("", object.namespace()))
            });
        }
        let deletion = self.start(namespace::Namespaces::new(self.api.clone()));
        self.feed(&deletion, &gvr::NAMESPACES, |_, namespace| namespace.is_terminating().then(|| Key::of(namespace)));
    }

    fn scheduler(&mut self) {
        let events = self.events.component("default-scheduler");
        let queue = self.start(scheduler::Scheduler::new(self.api.clone(), events, self.clock.clone()));
        let waiting = Arc::new(Mutex::new(BTreeSet::new()));
        let pods = Arc::clone(&waiting);
        self.feed(&queue, &gvr::PODS, move |kind, pod| {
            let key = Key::of(pod);
            if kind != EventType::Deleted && scheduler::Scheduler::wants(pod) {
                pods.lock().insert(key.clone());
                return Some(key);
            }
            pods.lock().remove(&key);
            None
        });
        self.feed(&queue, &gvr::NODES, move |_, _| waiting.lock().clone());
    }

    fn replica_sets(&mut self) {
        let events = self.events.component("replicaset-controller");
        let queue = self.start(replica_set::ReplicaSets::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::REPLICA_SETS, |_, set| [Key::of(set)]);
        self.feed(&queue, &gvr::PODS, |_, pod| controller_key(pod, "ReplicaSet"));
    }

    fn deployments(&mut self) {
        let events = self.events.component("deployment-controller");
        let queue = self.start(deployment::Deployments::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::DEPLOYMENTS, |_, deployment| [Key::of(deployment)]);
        self.feed(&queue, &gvr::REPLICA_SETS, |_, set| controller_key(set, "Deployment"));
        // A recreation waits until the last old pod is gone.
        self.feed(&queue, &gvr::PODS, |kind, pod| {
            (kind == EventType::Deleted).then(|| deployment::of_pod(pod)).flatten()
        });
    }

    fn jobs(&mut self) {
        let events = self.events.component("job-controller");
        let queue = self.start(job::Jobs::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::JOBS, |_, job| [Key::of(job)]);
        self.feed(&queue, &gvr::PODS, |_, pod| controller_key(pod, "Job"));
    }

    fn endpoints(&mut self) {
        let events = self.events.component("endpoint-slice-controller");
        let queue = self.start(endpoints::Endpoints::new(self.api.clone(), events));
        let selection = Arc::new(Mutex::new(endpoints::Selection::default()));
        let services = Arc::clone(&selection);
        self.feed(&queue, &gvr::SERVICES, move |kind, service| {
            services.lock().service(kind == EventType::Deleted, service);
            [Key::of(service)]
        });
        self.feed(&queue, &gvr::PODS, move |kind, pod| selection.lock().pod(kind == EventType::Deleted, pod));
        self.feed(&queue, &gvr::ENDPOINT_SLICES, |kind, slice| {
            let service = slice.label(SERVICE_NAME).filter(|_| kind == EventType::Deleted);
            service.map(|service| Key::new(slice.namespace(), service))
        });
    }

    fn garbage(&mut self) {
        let queue = Arc::new(Queue::default());
        let garbage = garbage::Garbage::start(&mut self.tasks, self.api.clone(), &queue);
        start(&mut self.tasks, garbage, &queue, WORKERS);
    }
}

/// The key of the object's controller, if that is of this kind.
fn controller_key(object: &Object, kind: &str) -> Option<Key> {
    let owner = object.controller().filter(|owner| owner["kind"] == kind)?;
    Some(Key::new(object.namespace(), owner.text("/name")))
}
