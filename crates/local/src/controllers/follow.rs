//! Watches that feed the work queues.

use futures::StreamExt;
use lateen_apiserver::{Client, Event, EventType, Gvr, Object};
use tokio::task::JoinSet;

/// Call `each` for everything there is of a kind and for every change, for ever.
pub fn follow(
    tasks: &mut JoinSet<()>,
    client: &Client,
    gvr: &Gvr,
    mut each: impl FnMut(EventType, &Object) + Send + 'static,
) {
    let events = client.watch_all(gvr);
    tasks.spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(Event { kind, object }) = events.next().await {
            if kind != EventType::Bookmark {
                each(kind, &object);
            }
        }
    });
}
