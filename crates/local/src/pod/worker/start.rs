//! Starting a container of the pod.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Happened, What, Wish, Worker};
use crate::container::log::Log;
use crate::container::running;
use crate::events::Type;
use crate::image::Image;
use crate::pod::launch::{self, Ground, Prepared};
use crate::pod::live::{Live, Task};
use crate::pod::unit::{Ended, State};
use crate::pod::{hooks, probe};

/// How soon a container whose configuration is incomplete is tried again.
const CONFIG_RETRY: Duration = Duration::from_secs(2);
/// What a container that could not be started answers as its exit code.
const START_ERROR: i32 = 128;
/// The longest message of an event about an image.
const LISTED: usize = 40;

impl Worker {
    /// Starts a container, or notes why it can't be.
    pub(super) async fn start(&mut self, index: usize) {
        let Some(image) = self.image(index) else { return };
        let prepared = match self.prepare(index, image).await {
            Ok(prepared) => prepared,
            Err(reason) => return self.misconfigured(index, reason),
        };
        if let Some(uid) = prepared.refused_uid
            && self.units[index].run == 0
        {
            let text = format!(
                "user id {uid} does not exist in this cluster, which has a single one: the container \
                 runs as root without rights. Give this user a range in /etc/subuid and /etc/subgid"
            );
            self.say_of(index, Type::Warning, "UserIdNotHonoured", &text);
        }
        let unit = &mut self.units[index];
        let again = unit.run > 0 || unit.last.is_some();
        unit.run += 1;
        if let State::Ended(ended) = &unit.state {
            unit.last = Some(ended.clone());
        }
        if again && unit.run > 1 {
            unit.restarts += 1;
        }
        let name = unit.name().to_owned();
        self.say_of(index, Type::Normal, "Created", &format!("Created container: {name}"));
        match self.launch(index, prepared).await {
            Ok(live) => self.running(index, live).await,
            Err(reason) => self.not_started(index, &reason),
        }
    }

    /// The unit's image. Without one the container waits for good.
    fn image(&mut self, index: usize) -> Option<Image> {
        let unit = &mut self.units[index];
        let reference = unit.container.image.clone().unwrap_or_default();
        let found = self.context.images.resolve(&reference);
        if found.is_some() {
            if unit.run == 0 {
                let text = format!("Container image {reference:?} already present on machine");
                self.say_of(index, Type::Normal, "Pulled", &text);
            }
            return found;
        }
        let mut available = self.context.images.available();
        available.truncate(LISTED);
        let text = format!(
            "image {reference:?} is not among the images of this cluster, which has no registry; \
             there are: {}",
            available.join(", ")
        );
        let first = !matches!(&unit.state, State::Waiting { reason: "ErrImagePull", .. });
        if first {
            unit.state = State::Waiting { reason: "ErrImagePull", message: text.clone() };
            unit.not_before = Some(Instant::now() + CONFIG_RETRY);
            self.say_of(index, Type::Warning, "Failed", &format!("Failed to pull image {reference:?}: {text}"));
            self.say_of(index, Type::Warning, "Failed", "Error: ErrImagePull");
        } else {
            unit.state = State::Waiting {
                reason: "ImagePullBackOff",
                message: format!("Back-off pulling image {reference:?}: {text}"),
            };
            unit.stuck = true;
            let text = format!("Back-off pulling image {reference:?}");
            self.say_of(index, Type::Normal, "BackOff", &text);
            self.say_of(index, Type::Warning, "Failed", "Error: ImagePullBackOff");
        }
        None
    }

    async fn prepare(&self, index: usize, image: Image) -> Result<Prepared, String> {
        let ips = self.ips();
        let ground = Ground {
            context: &self.context,
            object: &self.object,
            spec: &self.spec,
            paths: &self.paths,
            ips: &ips,
            hostname: &self.hostname,
            volumes: &self.volumes,
            objects: &self.objects,
        };
        launch::prepare(&ground, &self.units[index].container, image).await
    }

    fn misconfigured(&mut self, index: usize, message: String) {
        let unit = &mut self.units[index];
        let reason = "CreateContainerConfigError";
        let new = State::Waiting { reason, message: message.clone() };
        let known = unit.state == new;
        unit.state = new;
        unit.not_before = Some(Instant::now() + CONFIG_RETRY);
        if !known {
            self.say_of(index, Type::Warning, "Failed", &format!("Error: {message}"));
        }
    }

    async fn launch(&mut self, index: usize, prepared: Prepared) -> Result<Arc<Live>, String> {
        let log = self.open_log(index)?;
        let unit = &self.units[index];
        let (run, container) = (unit.run, Arc::clone(&unit.container));
        let started = running::Container::start(&prepared.spec, Arc::clone(&log)).await.inspect_err(|_| log.end())?;
        let process = Arc::new(prepared.spec.process);
        let exited = watch_exit(Arc::clone(&started), index, run, self.sender.clone());
        let ip = self.ip.map(|ip| ip.to_string()).unwrap_or_default();
        let target = probe::Target {
            container: Arc::clone(&container),
            process: Arc::clone(&process),
            pid: started.pid,
            ip: ip.clone(),
        };
        let probes = Task(tokio::spawn(pass_on(target, index, run, self.sender.clone())));
        Ok(Arc::new(Live { container: started, process, spec: container, ip, exited, _probes: probes }))
    }

    fn open_log(&self, index: usize) -> Result<Arc<Log>, String> {
        let unit = &self.units[index];
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let pod = format!("{}_{name}_{}", self.objects.namespace(), self.uid);
        let directory = self.context.home.pod_logs().join(pod).join(unit.name());
        let path = directory.join(format!("{}.log", unit.restarts));
        let log = Log::create(path).map_err(|e| format!("open the container's log: {e}"))?;
        if let Some(old) = unit.restarts.checked_sub(2) {
            let old = directory.join(format!("{old}.log"));
            let _ = std::fs::remove_file(crate::container::log::rotated(&old));
            let _ = std::fs::remove_file(old);
        }
        let previous = unit.restarts.checked_sub(1).map(|n| directory.join(format!("{n}.log")));
        self.context.registry.note(&self.uid, unit.name(), |entry| {
            entry.path = Some(log.path().to_owned());
            entry.previous = previous.filter(|path| path.exists());
            entry.log = Some(Arc::clone(&log));
        });
        Ok(log)
    }

    /// The container runs: says so and waits for its postStart hook.
    async fn running(&mut self, index: usize, live: Arc<Live>) {
        let unit = &mut self.units[index];
        let id = format!("lateen://{}", container_id(&self.uid, unit.name(), unit.run, unit.restarts));
        unit.begin(Arc::clone(&live), id, Timestamp::now());
        let name = unit.name().to_owned();
        self.context.registry.note(&self.uid, &name, |entry| entry.live = Some(Arc::clone(&live)));
        self.say_of(index, Type::Normal, "Started", &format!("Started container {name}"));
        let lifecycle = live.spec.lifecycle.as_ref();
        let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()) else { return };
        self.publish().await;
        let mut wishes = self.wishes.clone();
        let leaving = wishes.wait_for(|wish| match wish {
            Wish::Gone => true,
            Wish::Pod(object) => object["metadata"]["deletionTimestamp"].is_string(),
        });
        let mut exited = live.exited.clone();
        let result = tokio::select! {
            result = hooks::run(hook, &live) => result,
            _ = exited.wait_for(Option::is_some) => Ok(()),
            _ = leaving => Ok(()),
        };
        if let Err(reason) = result {
            self.say_of(index, Type::Warning, "FailedPostStartHook", &format!("PostStartHook failed: {reason}"));
            live.container.kill();
        }
    }

    fn not_started(&mut self, index: usize, reason: &str) {
        let name = self.units[index].name().to_owned();
        let text = format!("Error: failed to start container {name:?}: {reason}");
        self.say_of(index, Type::Warning, "Failed", &text);
        let unit = &self.units[index];
        let id = format!("lateen://{}", container_id(&self.uid, unit.name(), unit.run, unit.restarts));
        self.ended(
            index,
            Ended {
                code: START_ERROR,
                signal: None,
                reason: "StartError",
                message: reason.to_owned(),
                started: Some(Timestamp::now()),
                finished: Timestamp::now(),
                id,
            },
        );
    }
}

/// A name for a run of a container that nothing else has.
fn container_id(uid: &str, name: &str, run: u64, restarts: u32) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let part = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, uid, name, run, restarts, std::process::id()).hash(&mut hasher);
        hasher.finish()
    };
    (0..4).map(|salt| format!("{:016x}", part(salt))).collect()
}

/// Waits for the end of a run in a task of its own.
fn watch_exit(
    container: Arc<running::Container>,
    unit: usize,
    run: u64,
    sender: mpsc::Sender<Happened>,
) -> watch::Receiver<Option<running::Exit>> {
    let (tell, exited) = watch::channel(None);
    tokio::spawn(async move {
        let exit = container.exit().await;
        tell.send_replace(Some(exit));
        let _ = sender.send(Happened { unit, run, what: What::Exited(exit) }).await;
    });
    exited
}

async fn pass_on(target: probe::Target, unit: usize, run: u64, sender: mpsc::Sender<Happened>) {
    let (news_in, mut news_out) = mpsc::channel(4);
    let watching = probe::watch(target, news_in);
    let passing = async {
        while let Some((kind, news)) = news_out.recv().await {
            let happened = Happened { unit, run, what: What::Probe(kind, news) };
            if sender.send(happened).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(watching, passing);
}
