//! The host's sockets for Services and host ports: they come and go with what they lead to.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use lateen_apiserver::{Client, Object, PatchType, gvr};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::balancer::{Problem, explain, status};
use super::front::{Front, HOST, wanted};
use super::relay::{self, CONNECTIONS};
use super::rules::Node;
use super::targets::port_number;
use crate::controllers::Mirror;
use crate::controllers::object::Meta;
use crate::events::{Recorder, Type};
use crate::sandbox::outside::{Outside, Wanted};

/// Changes that follow each other this closely are applied together.
const SETTLE: Duration = Duration::from_millis(20);
/// How soon a socket that couldn't be had is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Why an event about a socket is there.
const REASON: &str = "HostPortNotAvailable";

type Key = (bool, SocketAddr);

/// Keep the host's sockets as Services and pods want them, for ever.
pub(crate) async fn expose(client: Client, node: Node, outside: Outside, recorder: Recorder) {
    let mut mirror = Mirror::start(&client, [&gvr::SERVICES, &gvr::ENDPOINT_SLICES, &gvr::PODS]);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut host = Host { client, outside, recorder, slots, open: HashMap::new(), problems: HashMap::new() };
    let [mut services, mut slices, mut pods] = mirror.changed(SETTLE).await;
    loop {
        host.arrange(wanted(&services, &slices, &pods, &node)).await;
        host.tell(&services).await;
        let changed = mirror.changed(SETTLE);
        if host.problems.is_empty() {
            [services, slices, pods] = changed.await;
        } else if let Ok(new) = timeout(RETRY, changed).await {
            [services, slices, pods] = new;
        }
    }
}

struct Host {
    client: Client,
    outside: Outside,
    recorder: Recorder,
    slots: Arc<Semaphore>,
    open: HashMap<Key, Open>,
    /// What was said about sockets that couldn't be had, by socket and owner.
    problems: HashMap<(Key, String), (Problem, String)>,
}

/// A socket at work.
struct Open {
    to: SocketAddr,
    /// `Service namespace/name`.
    owner: String,
    uid: String,
    work: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn describe(owner: &Object) -> String {
    let kind = owner["kind"].as_str().unwrap_or("Service");
    format!("{kind} {}/{}", owner.namespace(), owner.name())
}

impl Host {
    /// Closes what is no longer wanted, then opens what is missing.
    async fn arrange(&mut self, fronts: Vec<Front>) {
        let mut wanted: HashMap<Key, &Front> = HashMap::new();
        for front in &fronts {
            wanted.entry(front.key()).or_insert(front);
        }
        self.open.retain(|key, open| {
            let same = |front: &&Front| front.to == open.to && front.owner.uid() == open.uid && !front.is_barred();
            wanted.get(key).is_some_and(same)
        });
        let stated: HashSet<(Key, &str)> = fronts.iter().map(|f| (f.key(), f.owner.uid())).collect();
        self.problems.retain(|(key, uid), _| stated.contains(&(*key, uid.as_str())));
        for front in &fronts {
            self.open_one(front).await;
        }
    }

    async fn open_one(&mut self, front: &Front) {
        let key = front.key();
        let holder = self.open.get(&key).map(|open| (open.uid.clone(), open.owner.clone()));
        let result = match holder {
            // A Service whose port is its own nodePort, or a port named twice.
            Some((uid, _)) if uid == front.owner.uid() => return,
            Some((_, holder)) => Err((Problem::Taken, Some(holder))),
            None if front.is_barred() => Err((Problem::Barred, None)),
            None => self.open_socket(front).await.map_err(|error| (Problem::of(&error), None)),
        };
        let place = (key, front.owner.uid().to_owned());
        match result {
            Ok(open) => {
                self.problems.remove(&place);
                self.open.insert(key, open);
            }
            Err((problem, holder)) => {
                let text = explain(front, problem, holder.as_deref());
                if self.problems.get(&place).is_none_or(|(_, said)| *said != text) {
                    self.recorder.record(&front.owner, Type::Warning, REASON, &text);
                    self.problems.insert(place, (problem, text));
                }
            }
        }
    }

    async fn open_socket(&self, front: &Front) -> io::Result<Open> {
        let udp = front.key().0;
        let fd = self.outside.socket(Wanted::Listen { udp, at: front.at }).await?;
        let work = serve(fd, udp, front.to, &self.slots)?;
        Ok(Open { to: front.to, owner: describe(&front.owner), uid: front.owner.uid().to_owned(), work })
    }

    /// Writes into the status of Services of type LoadBalancer how they are reached.
    async fn tell(&self, services: &[Object]) {
        for service in services.iter().filter(|service| !service.is_terminating()) {
            let problem = |port: &Value| {
                let at = SocketAddr::new(HOST, port_number(port, "port")?);
                let key = (port["protocol"] == "UDP", at);
                self.problems.get(&(key, service.uid().to_owned())).map(|(problem, _)| *problem)
            };
            let Some(status) = status(service, problem) else { continue };
            let patch = json!({"metadata": {"uid": service.uid()}, "status": status});
            let (namespace, name) = (service.namespace(), service.name());
            let written =
                self.client.patch(&gvr::SERVICES, namespace, name, PatchType::Merge, &patch, Some("status")).await;
            if let Err(error) = written.map(drop)
                && !matches!(error.code, 404 | 409)
            {
                tracing::warn!(service = name, %error, "cannot write a Service's status");
            }
        }
    }
}

fn serve(fd: OwnedFd, udp: bool, to: SocketAddr, slots: &Arc<Semaphore>) -> io::Result<JoinHandle<()>> {
    Ok(if udp {
        let socket = tokio::net::UdpSocket::from_std(fd.into())?;
        tokio::spawn(relay::udp(socket, to))
    } else {
        let listener = tokio::net::TcpListener::from_std(TcpListener::from(fd))?;
        tokio::spawn(relay::tcp(listener, to, Arc::clone(slots)))
    })
}
