//! Watches that feed the work queues.

use futures::{Stream, StreamExt};
use lateen_apiserver::{Event, EventType, Object};
use tokio::task::JoinSet;

/// Call `each` for everything that a watch shows and for every change, for ever.
pub fn follow(
    tasks: &mut JoinSet<()>,
    events: impl Stream<Item = Event> + Send + 'static,
    mut each: impl FnMut(EventType, &Object) + Send + 'static,
) {
    tasks.spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(Event { kind, object }) = events.next().await {
            if kind != EventType::Bookmark {
                each(kind, &object);
            }
        }
    });
}
