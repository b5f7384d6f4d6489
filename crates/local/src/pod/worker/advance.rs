//! Bringing a pod forward: network, volumes, then containers in their order.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Worker;
use crate::events::Type;
use crate::network::pod::{self as network, PodNetwork};
use crate::network::{NODE_IP, both};
use crate::pod::fields::Addresses;
use crate::pod::unit::{Next, initialized, next};
use crate::pod::volumes;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Worker {
    /// Does what can be done now. Answers when there is more to do.
    pub(super) async fn advance(&mut self) -> Option<Instant> {
        if self.facts.stopped || self.retry.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        if self.ip.is_none() {
            let made = self.make_network().await;
            self.settle("FailedCreatePodSandBox", made)?;
        }
        if !self.volumes_ready {
            let made = self.make_volumes().await;
            self.volumes_ready = made.is_ok();
            self.settle("FailedMount", made)?;
        }
        loop {
            self.facts.initialized |= initialized(&self.units);
            match next(&self.units, self.facts.policy, self.facts.initialized, Instant::now()) {
                Next::Start(unit) => self.start(unit).await,
                Next::Wait(wake) => return wake,
                Next::Finished => {
                    self.finish().await;
                    return None;
                }
            }
            if self.wishes.has_changed().unwrap_or(true) {
                return Some(Instant::now());
            }
        }
    }

    /// After a failed step says so and waits a while before the next try.
    fn settle(&mut self, reason: &str, result: Result<(), String>) -> Option<()> {
        let Err(message) = result else {
            self.pause = Duration::ZERO;
            self.last_failure.clear();
            return Some(());
        };
        // Things often come a moment later; only what stays wrong is worth an event.
        if !self.pause.is_zero() && self.last_failure != message {
            self.say(Type::Warning, reason, &message);
            self.last_failure = message;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.retry = Some(Instant::now() + self.pause);
        None
    }

    async fn make_network(&mut self) -> Result<(), String> {
        let on_host = self.spec.host_network == Some(true);
        let address = match on_host {
            true => None,
            false => Some(self.context.addresses.take().ok_or("no pod address is free")?),
        };
        let namespaces = self.paths.namespaces();
        let dual_stack = self.context.dual_stack;
        let network = PodNetwork { namespaces, hostname: self.hostname.clone(), address, dual_stack };
        if let Err(reason) = network::create(&network).await {
            address.into_iter().for_each(|address| self.context.addresses.release(address));
            return Err(format!("Failed to create pod sandbox: {reason}"));
        }
        self.context.registry.note_pod(&self.uid, network.namespaces);
        self.ip = Some(address.unwrap_or(NODE_IP));
        Ok(())
    }

    pub(super) async fn make_volumes(&mut self) -> Result<(), String> {
        let (ips, node) = (self.ips(), both(NODE_IP, self.context.dual_stack));
        let scope = volumes::Scope {
            pod: &self.pod,
            object: &self.object,
            addresses: Addresses { pod: &ips, node: &node },
            capacity: self.context.capacity,
            objects: &self.objects,
            paths: &self.paths,
            state: self.context.home.root(),
            many_ids: self.context.many_ids,
        };
        self.volumes.prepare(&scope, Timestamp::now().as_second()).await
    }

    /// Brings volumes up to date with the objects they show.
    pub(super) async fn refresh(&mut self) {
        if self.volumes_ready
            && let Err(reason) = self.make_volumes().await
        {
            tracing::debug!(pod = self.full_name(), reason, "cannot refresh a pod's volumes");
        }
    }
}
