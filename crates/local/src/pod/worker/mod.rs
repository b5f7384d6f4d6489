//! One pod from its first day to its last: a task that owns everything about it.

mod adopt;
mod advance;
mod end;
mod news;
mod start;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use lateen_apiserver::{Object, PatchType, gvr};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::objects::Objects;
use super::probe;
use super::status::{Facts, status};
use super::unit::{RestartPolicy, Unit, units};
use super::volumes::Volumes;
use crate::container::running::Exit;
use crate::events::Type;
use crate::network::{NODE_IP, both};
use crate::paths::PodPaths;

/// News that wait for the worker.
const WAITING: usize = 64;
/// How often ConfigMaps, Secrets and tokens are looked at.
const REFRESH: Duration = Duration::from_secs(10);
/// How soon a status that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the pod takes for its own name.
fn hostname(spec: &PodSpec, pod: String) -> String {
    let own = if spec.host_network == Some(true) { crate::NODE_NAME.to_owned() } else { pod };
    spec.hostname.clone().unwrap_or(own).chars().take(63).collect()
}

/// What the API says about the pod.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// The pod as it is.
    Pod(Object),
    /// It has been deleted without waiting for us.
    Gone,
}

/// What happened to a run of a container.
#[derive(Debug)]
pub(crate) struct Happened {
    unit: usize,
    run: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Exited(Exit),
    Probe(probe::Kind, probe::News),
}

/// A pod and everything about it.
pub(crate) struct Worker {
    context: Arc<Context>,
    wishes: watch::Receiver<Wish>,
    sender: mpsc::Sender<Happened>,
    happened: mpsc::Receiver<Happened>,
    object: Object,
    pod: Pod,
    spec: PodSpec,
    uid: String,
    hostname: String,
    paths: PodPaths,
    objects: Objects,
    units: Vec<Unit>,
    volumes: Volumes,
    volumes_ready: bool,
    ip: Option<Ipv4Addr>,
    facts: Facts,
    /// Try what failed again at this time.
    retry: Option<Instant>,
    pause: Duration,
    published: Value,
    last_failure: String,
}

impl Worker {
    /// A worker for a pod, unless its object can't be understood.
    pub(crate) fn new(context: Arc<Context>, object: Object, wishes: watch::Receiver<Wish>) -> Result<Worker, String> {
        let pod: Pod = serde_json::from_value(Value::clone(&object)).map_err(|e| e.to_string())?;
        let spec = pod.spec.clone().ok_or("the pod has no spec")?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let (sender, happened) = mpsc::channel(WAITING);
        let mut worker = Worker {
            paths: PodPaths::new(&context.home.private(), &uid),
            objects: Objects::new(context.client.clone(), namespace),
            units: units(&spec),
            volumes: Volumes::default(),
            volumes_ready: false,
            ip: None,
            facts: Facts {
                policy: RestartPolicy::of(&spec),
                ips: Vec::new(),
                node_ips: both(NODE_IP, context.dual_stack),
                since: Timestamp::now(),
                qos: super::status::qos(&spec),
                initialized: false,
                stopped: false,
            },
            retry: None,
            pause: Duration::ZERO,
            published: object["status"].clone(),
            last_failure: String::new(),
            hostname: hostname(&spec, name),
            context,
            wishes,
            sender,
            happened,
            object,
            pod,
            spec,
            uid,
        };
        worker.adopt();
        Ok(worker)
    }

    /// Runs the pod until it is gone.
    pub(crate) async fn run(mut self) {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.tick().await;
        loop {
            if self.leaving() {
                return self.end().await;
            }
            let wake = self.advance().await;
            self.publish().await;
            let wake = [wake, self.retry].into_iter().flatten().min();
            let idle = wake.is_none();
            let wake = wake.unwrap_or_else(Instant::now);
            tokio::select! {
                changed = self.wishes.changed() => if changed.is_err() { return self.end().await },
                Some(happened) = self.happened.recv() => self.handle(happened),
                () = sleep_until(wake), if !idle => self.retry = None,
                _ = refresh.tick(), if self.volumes.refreshed() => self.refresh().await,
            }
        }
    }

    /// Takes the latest wish; answers whether the pod is to end.
    fn leaving(&mut self) -> bool {
        match &*self.wishes.borrow_and_update() {
            Wish::Gone => return true,
            Wish::Pod(object) => self.object = object.clone(),
        }
        // The spec of a pod stays as it was; labels, annotations and deletion change.
        if let Ok(metadata) = serde_json::from_value(self.object["metadata"].clone()) {
            self.pod.metadata = metadata;
        }
        self.object["metadata"]["deletionTimestamp"].is_string()
    }

    /// The pod's addresses, once it has them.
    fn ips(&self) -> Vec<IpAddr> {
        self.ip.map(|ip| both(ip, self.context.dual_stack)).unwrap_or_default()
    }

    /// Tells the API how the pod is, if that changed.
    async fn publish(&mut self) {
        self.facts.ips = self.ips();
        let new = status(&self.units, &self.facts, &self.published, &self.object["spec"], Timestamp::now());
        if new == self.published {
            return;
        }
        let name = self.pod.metadata.name.clone().unwrap_or_default();
        let patch = json!({"metadata": {"uid": self.uid}, "status": new});
        let namespace = self.objects.namespace().to_owned();
        let written =
            self.context.client.patch(&gvr::PODS, &namespace, &name, PatchType::Merge, &patch, Some("status")).await;
        match written {
            Ok(_) => self.published = new,
            Err(status) if status.code == 404 || status.code == 409 => {}
            Err(error) => {
                tracing::warn!(pod = name, %error, "cannot write a pod's status");
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    /// An event about the pod as a whole.
    fn say(&self, kind: Type, reason: &str, message: &str) {
        self.context.recorder.record(&self.object, kind, reason, message);
    }

    /// An event about one container.
    fn say_of(&self, unit: usize, kind: Type, reason: &str, message: &str) {
        let unit = &self.units[unit];
        let list = if unit.role == super::unit::Role::App { "containers" } else { "initContainers" };
        let path = format!("spec.{list}{{{}}}", unit.name());
        self.context.recorder.record_at(&self.object, Some(&path), kind, reason, message);
    }

    /// `name_namespace(uid)`, as Kubernetes names pods in messages.
    fn full_name(&self) -> String {
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        format!("{name}_{}({})", self.objects.namespace(), self.uid)
    }
}
