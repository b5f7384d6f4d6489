//! The end of a pod: its containers in order, its network, its files, its object.

use std::sync::Arc;
use std::time::Duration;

use lateen_apiserver::{DeleteOptions, gvr};
use nix::mount::{MntFlags, umount2};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Wish, Worker};
use crate::events::Type;
use crate::network::{NODE_IP, pod as network};
use crate::pod::live::Live;
use crate::pod::stop;
use crate::pod::unit::Role;

const DEFAULT_GRACE: i64 = 30;
/// How often deleting the object is tried when the API server can't.
const DELETE_TRIES: u32 = 5;

impl Worker {
    /// Ends the pod that is being deleted, or that is gone already.
    pub(super) async fn end(mut self) {
        let gone = matches!(&*self.wishes.borrow(), Wish::Gone);
        self.facts.stopped = true;
        let grace = if gone { Duration::ZERO } else { self.grace() };
        self.stop_all(grace).await;
        self.clean_up();
        if !gone {
            self.publish().await;
            self.delete_object().await;
        }
        self.context.registry.forget(&self.uid);
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let logs = format!("{}_{name}_{}", self.objects.namespace(), self.uid);
        let _ = std::fs::remove_dir_all(self.context.home.pod_logs().join(logs));
    }

    /// The pod has done its work: sidecars end, what it leaves stays until it is deleted.
    pub(super) async fn finish(&mut self) {
        self.facts.stopped = true;
        let seconds = self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        self.stop_all(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))).await;
        self.clean_up();
    }

    /// The time left to the pod, as its deletion says.
    fn grace(&self) -> Duration {
        let metadata = &self.object["metadata"];
        let given = metadata["deletionGracePeriodSeconds"].as_i64();
        let own = self.spec.termination_grace_period_seconds;
        let seconds = given.or(own).unwrap_or(DEFAULT_GRACE);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Ends all containers: apps together, then sidecars in the reverse of their order.
    async fn stop_all(&mut self, grace: Duration) {
        let start = Instant::now();
        let (deadline, watched) = watch::channel(start + grace);
        let groups = self.groups();
        if groups.iter().all(Vec::is_empty) {
            return;
        }
        self.say_stopping();
        self.publish().await;
        let mut stopping = tokio::spawn(stop::in_order(groups, watched));
        loop {
            tokio::select! {
                biased;
                Some(happened) = self.happened.recv() => {
                    self.handle(happened);
                    self.publish().await;
                }
                _ = &mut stopping => break,
                changed = self.wishes.changed() => {
                    let now = changed.is_err() || matches!(&*self.wishes.borrow(), Wish::Gone);
                    let grace = if now { Duration::ZERO } else { self.leaving(); self.grace() };
                    if self.object["metadata"]["deletionTimestamp"].is_string() || now {
                        deadline.send_if_modified(|at| {
                            let sooner = start + grace < *at;
                            if sooner { *at = start + grace }
                            sooner
                        });
                    }
                    if changed.is_err() {
                        let _ = (&mut stopping).await;
                        break;
                    }
                }
            }
        }
        while let Ok(happened) = self.happened.try_recv() {
            self.handle(happened);
        }
    }

    fn groups(&self) -> Vec<Vec<Arc<Live>>> {
        let live = |wanted: &dyn Fn(Role) -> bool| {
            let units = self.units.iter().filter(|unit| wanted(unit.role));
            units.filter_map(|unit| unit.live.clone()).collect::<Vec<_>>()
        };
        let mut groups = vec![live(&|role| role != Role::Sidecar)];
        groups.extend(live(&|role| role == Role::Sidecar).into_iter().rev().map(|live| vec![live]));
        groups
    }

    fn say_stopping(&self) {
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.live.is_some()) {
            let text = format!("Stopping container {}", unit.name());
            self.say_of(index, Type::Normal, "Killing", &text);
        }
    }

    /// Gives back network and files.
    fn clean_up(&mut self) {
        self.context.registry.forget_network(&self.uid);
        network::remove(&self.paths.namespaces());
        if let Some(address) = self.ip.take().filter(|address| *address != NODE_IP) {
            self.context.addresses.release(address);
        }
        for unit in &self.units {
            let _ = umount2(&self.paths.container(unit.name()).join("root"), MntFlags::MNT_DETACH);
        }
        if let Err(error) = std::fs::remove_dir_all(self.paths.root())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(pod = self.full_name(), %error, "cannot remove a pod's files");
        }
    }

    async fn delete_object(&self) {
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let options =
            DeleteOptions { grace_period_seconds: Some(0), uid: Some(self.uid.clone()), ..DeleteOptions::default() };
        for attempt in 0..DELETE_TRIES {
            let namespace = self.objects.namespace();
            match self.context.client.delete(&gvr::PODS, namespace, name, &options).await {
                Ok(_) => return,
                Err(status) if status.code == 404 || status.code == 409 => return,
                Err(error) => tracing::warn!(pod = name, %error, "cannot delete a pod"),
            }
            tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(attempt)).await;
        }
    }
}
