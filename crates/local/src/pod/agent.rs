//! Follows the pods of the API and gives each its worker.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use lateen_apiserver::{Event, EventType, Object, gvr};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::context::Context;
use super::worker::{Wish, Worker};
use crate::NODE_NAME;

/// Runs the pods of this node for as long as the API can be watched.
pub(crate) async fn run(context: Arc<Context>) {
    let mut agent = Agent { context, pods: HashMap::new(), workers: JoinSet::new() };
    let mut events = Box::pin(agent.context.client.watch_all(&gvr::PODS));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => agent.handle(event),
                None => return,
            },
            Some(_) = agent.workers.join_next() => {}
        }
    }
}

struct Agent {
    context: Arc<Context>,
    /// What the worker of each pod is told, by the pod's uid.
    pods: HashMap<String, watch::Sender<Wish>>,
    workers: JoinSet<()>,
}

impl Agent {
    fn handle(&mut self, event: Event) {
        match event.kind {
            EventType::Added | EventType::Modified => self.wanted(event.object),
            EventType::Deleted => self.gone(uid(&event.object)),
            EventType::Bookmark => {}
        }
        self.pods.retain(|_, tell| !tell.is_closed());
    }

    fn wanted(&mut self, pod: Object) {
        if pod["spec"]["nodeName"] != NODE_NAME {
            return;
        }
        let uid = uid(&pod).to_owned();
        if let Some(tell) = self.pods.get(&uid) {
            tell.send_replace(Wish::Pod(pod));
            return;
        }
        let (tell, wishes) = watch::channel(Wish::Pod(Arc::clone(&pod)));
        match Worker::new(Arc::clone(&self.context), Arc::clone(&pod), wishes) {
            Ok(worker) => {
                self.workers.spawn(worker.run());
                self.pods.insert(uid, tell);
            }
            Err(reason) => {
                let kind = crate::events::Type::Warning;
                self.context.recorder.record(&pod, kind, "FailedValidation", &reason);
            }
        }
    }

    fn gone(&mut self, uid: &str) {
        if let Some(tell) = self.pods.remove(uid) {
            tell.send_replace(Wish::Gone);
        }
    }
}

fn uid(pod: &Object) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}
