//! The controllers of the local cluster: each makes the world as objects of its kind want it.

mod api;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod fitness;
mod follow;
mod garbage;
mod host_ports;
mod job;
mod mirror;
mod namespace;
pub mod object;
pub(crate) mod pods;
mod portion;
pub mod queue;
mod replica_set;
mod revisions;
mod scheduler;
pub mod selector;
mod service_account;
mod stateful_set;
mod storage;
mod template;
mod token_secret;

use std::collections::BTreeSet;
use std::path::Path;
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
pub use storage::{Directories, PROVISIONED_BY, PROVISIONER};

/// Keys of one controller worked on at the same time: enough that a slow admission webhook in one
/// namespace doesn't hold up the others.
const WORKERS: usize = 8;

/// Start all controllers. They end when the result is dropped.
///
/// `root_ca` is the API server's root certificate in PEM, for every namespace's
/// `kube-root-ca.crt`; `volumes` is the directory in which persistent volumes are made.
#[must_use]
pub fn run(client: &Client, clock: &Clock, root_ca: &str, volumes: &Path) -> JoinSet<()> {
    let events = Recorder::start(client.clone(), "controllermanager", clock.clone());
    let mut all = Start { tasks: JoinSet::new(), api: Api { client: client.clone() }, events, clock: clock.clone() };
    all.namespaces(root_ca);
    all.scheduler();
    all.replica_sets();
    all.deployments();
    all.stateful_sets();
    all.daemon_sets();
    all.jobs();
    all.cron_jobs();
    all.storage(&Directories::new(volumes));
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
        follow(&mut self.tasks, self.api.client.watch_all(gvr), move |kind, object| {
            keys(kind, object).into_iter().for_each(|key| queue.add(key));
        });
    }

    fn namespaces(&mut self, root_ca: &str) {
        use service_account::{DEFAULT_ACCOUNT, NamespaceBasics, ROOT_CA};
        let basics = self.start(NamespaceBasics::new(self.api.clone(), root_ca.to_owned()));
        self.feed(&basics, &gvr::NAMESPACES, |_, namespace| [Key::of(namespace)]);
        for (gvr, name) in [(&gvr::SERVICE_ACCOUNTS, DEFAULT_ACCOUNT), (&gvr::CONFIG_MAPS, ROOT_CA)] {
            let queue = Arc::clone(&basics);
            follow(&mut self.tasks, self.api.client.watch_named(gvr, name), move |kind, object| {
                if kind != EventType::Added {
                    queue.add(Key::new("", object.namespace()));
                }
            });
        }
        self.token_secrets(root_ca);
        let deletion = self.start(namespace::Namespaces::new(self.api.clone(), self.clock.clone()));
        self.feed(&deletion, &gvr::NAMESPACES, |_, namespace| namespace.is_terminating().then(|| Key::of(namespace)));
    }

    fn token_secrets(&mut self, root_ca: &str) {
        use token_secret::{Holders, TokenSecrets};
        let queue = self.start(TokenSecrets::new(self.api.clone(), root_ca.to_owned()));
        let holders = Arc::new(Mutex::new(Holders::default()));
        let known = Arc::clone(&holders);
        self.feed(&queue, &gvr::SECRETS, move |kind, secret| known.lock().secret(kind, secret));
        self.feed(&queue, &gvr::SERVICE_ACCOUNTS, move |_, account| holders.lock().of(account));
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
        for gvr in [&gvr::NODES, &gvr::PERSISTENT_VOLUME_CLAIMS] {
            let waiting = Arc::clone(&waiting);
            self.feed(&queue, gvr, move |_, _| waiting.lock().clone());
        }
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

    fn stateful_sets(&mut self) {
        let events = self.events.component("statefulset-controller");
        let queue = self.start(stateful_set::StatefulSets::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::STATEFUL_SETS, |_, set| [Key::of(set)]);
        for gvr in [&gvr::PODS, &gvr::CONTROLLER_REVISIONS] {
            self.feed(&queue, gvr, |_, object| controller_key(object, "StatefulSet"));
        }
    }

    fn daemon_sets(&mut self) {
        let events = self.events.component("daemonset-controller");
        let queue = self.start(daemon_set::DaemonSets::new(self.api.clone(), events, self.clock.clone()));
        let sets = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&sets);
        self.feed(&queue, &gvr::DAEMON_SETS, move |kind, set| {
            let key = Key::of(set);
            if kind == EventType::Deleted {
                known.lock().remove(&key);
            } else {
                known.lock().insert(key.clone());
            }
            [key]
        });
        let mut nodes = std::collections::BTreeMap::new();
        self.feed(&queue, &gvr::NODES, move |_, node| {
            // Heartbeats change nothing for daemons.
            let news = (node["metadata"]["labels"].clone(), node["spec"].clone());
            let changed = nodes.insert(node.name().to_owned(), news.clone()) != Some(news);
            if changed { sets.lock().clone() } else { BTreeSet::new() }
        });
        for gvr in [&gvr::PODS, &gvr::CONTROLLER_REVISIONS] {
            self.feed(&queue, gvr, |_, object| controller_key(object, "DaemonSet"));
        }
    }

    fn jobs(&mut self) {
        let events = self.events.component("job-controller");
        let queue = self.start(job::Jobs::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::JOBS, |_, job| [Key::of(job)]);
        self.feed(&queue, &gvr::PODS, |_, pod| controller_key(pod, "Job").or_else(|| job::left_behind(pod)));
    }

    fn cron_jobs(&mut self) {
        let events = self.events.component("cronjob-controller");
        let queue = self.start(cron_job::CronJobs::new(self.api.clone(), events, self.clock.clone()));
        self.feed(&queue, &gvr::CRON_JOBS, |_, cron_job| [Key::of(cron_job)]);
        self.feed(&queue, &gvr::JOBS, |_, job| controller_key(job, "CronJob"));
    }

    fn storage(&mut self, directories: &Directories) {
        let api = self.api.clone();
        self.tasks.spawn(async move {
            if let Err(error) = storage::ensure_class(api).await {
                tracing::warn!(%error, "cannot make the default StorageClass");
            }
        });
        let events = self.events.component("persistentvolume-controller");
        let claims = self.start(storage::Claims::new(self.api.clone(), events.clone(), directories.clone()));
        let volumes = self.start(storage::Volumes::new(
            self.api.clone(),
            events.clone(),
            directories.clone(),
            self.clock.clone(),
        ));
        let ephemeral = self.start(storage::Ephemeral::new(self.api.clone(), events.clone()));
        self.feed(&ephemeral, &gvr::PODS, |_, pod| storage::has_ephemeral(pod).then(|| Key::of(pod)));
        let unbound = Arc::new(Mutex::new(BTreeSet::new()));
        let waiting = Arc::clone(&unbound);
        self.feed(&claims, &gvr::PERSISTENT_VOLUME_CLAIMS, move |kind, claim| {
            let key = Key::of(claim);
            if kind != EventType::Deleted && claim["spec"]["volumeName"].is_null() {
                waiting.lock().insert(key.clone());
            } else {
                waiting.lock().remove(&key);
            }
            [key]
        });
        for gvr in [&gvr::STORAGE_CLASSES, &gvr::PERSISTENT_VOLUMES] {
            let unbound = Arc::clone(&unbound);
            self.feed(&claims, gvr, move |_, object| {
                unbound.lock().iter().cloned().chain(storage::claim_key(object)).collect::<Vec<_>>()
            });
        }
        self.feed(&claims, &gvr::PODS, |kind, pod| {
            let ended = kind == EventType::Deleted || pods::is_finished(pod);
            if ended { storage::claims_of(pod).collect() } else { Vec::new() }
        });
        self.feed(&volumes, &gvr::PERSISTENT_VOLUMES, |_, volume| [Key::of(volume)]);
        self.feed(&volumes, &gvr::PERSISTENT_VOLUME_CLAIMS, |_, claim| {
            let name = claim.text("/spec/volumeName");
            (!name.is_empty()).then(|| Key::new("", name))
        });
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
        self.mirrored_endpoints();
    }

    fn mirrored_endpoints(&mut self) {
        let events = self.events.component("endpoint-slice-mirroring-controller");
        let queue = self.start(endpoints::Mirroring::new(self.api.clone(), events));
        self.feed(&queue, &gvr::ENDPOINTS, |_, endpoints| [Key::of(endpoints)]);
        self.feed(&queue, &gvr::SERVICES, |_, service| [Key::of(service)]);
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
