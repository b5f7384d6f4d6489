//! One watch for each kind, restarted for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Event, Key, Kind, watched};

/// First pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Watches all kinds and sends what changes; ends when dropped.
pub fn watch_all(client: &Client, sender: &mpsc::Sender<Event>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for kind in watched() {
        let api = api(client, kind);
        tasks.spawn(Watch { kind, sender: sender.clone(), known: BTreeSet::new() }.run(api));
    }
    tasks
}

/// Objects are read without a schema, so one that is broken cannot stall the others.
fn api(client: &Client, kind: &Kind) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &kind.resource())
}

struct Watch {
    kind: &'static Kind,
    sender: mpsc::Sender<Event>,
    /// What is there according to the events sent, to tell what a new list no longer has.
    known: BTreeSet<Key>,
}

impl Watch {
    async fn run(mut self, api: Api<DynamicObject>) {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        let mut pause = FIRST_PAUSE;
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            let sent = match event {
                Ok(event) => {
                    pause = FIRST_PAUSE;
                    self.forward(event, &mut listed).await
                }
                Err(error) => {
                    let sent = self.failed(&error).await;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    sent
                }
            };
            if sent.is_none() {
                return;
            }
        }
    }

    /// `None` when nobody listens any more.
    async fn forward(&mut self, event: watcher::Event<DynamicObject>, listed: &mut BTreeSet<Key>) -> Option<()> {
        match event {
            watcher::Event::Apply(object) => self.put(object).await.map(drop),
            watcher::Event::Delete(object) => {
                let Some(key) = self.key(&object) else { return Some(()) };
                self.known.remove(&key);
                self.send(Event::Gone(key)).await
            }
            watcher::Event::Init => {
                listed.clear();
                Some(())
            }
            watcher::Event::InitApply(object) => {
                listed.extend(self.put(object).await?);
                Some(())
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(listed);
                let gone: Vec<Key> = self.known.difference(&listed).cloned().collect();
                for key in gone {
                    self.known.remove(&key);
                    self.send(Event::Gone(key)).await?;
                }
                self.send(Event::Synced(self.kind)).await
            }
        }
    }

    async fn put(&mut self, object: DynamicObject) -> Option<Option<Key>> {
        let Some(key) = self.key(&object) else { return Some(None) };
        let Some(value) = self.value(object) else { return Some(None) };
        self.known.insert(key.clone());
        self.send(Event::Put(key.clone(), value)).await?;
        Some(Some(key))
    }

    fn key(&self, object: &DynamicObject) -> Option<Key> {
        Some(Key {
            kind: self.kind,
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone()?,
        })
    }

    /// The object as the API server has it, less what nobody reads. Lists leave `kind` out of
    /// their items.
    fn value(&self, mut object: DynamicObject) -> Option<Value> {
        object.metadata.managed_fields = None;
        let mut value = serde_json::to_value(object).ok()?;
        value["apiVersion"] = self.kind.api_version().into();
        value["kind"] = self.kind.kind.into();
        Some(value)
    }

    /// A kind that the API server doesn't have counts as empty; its definition may come later.
    async fn failed(&mut self, error: &watcher::Error) -> Option<()> {
        if !is_absent(error) {
            tracing::warn!(kind = self.kind.kind, %error, "watch failed; trying again");
            return Some(());
        }
        for key in std::mem::take(&mut self.known) {
            self.send(Event::Gone(key)).await?;
        }
        self.send(Event::Synced(self.kind)).await
    }

    async fn send(&self, event: Event) -> Option<()> {
        self.sender.send(event).await.ok()
    }
}

fn is_absent(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}
