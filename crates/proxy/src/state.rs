//! The configuration in force, handed from the discovery client to the workers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lateen_proxy_core::Tables;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The configuration in force. Publishing swaps a pointer; a worker notices by a counter and takes the new one when its
/// next request begins.
#[derive(Debug, Default)]
pub struct State {
    generation: AtomicU64,
    tables: Mutex<Arc<Tables>>,
    changed: Notify,
}

impl State {
    /// With no configuration at all.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Puts `tables` in force.
    pub fn publish(&self, tables: Arc<Tables>) {
        let old = std::mem::replace(&mut *self.tables.lock(), tables);
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
        drop(old);
    }

    /// The tables in force; for everything but requests, which ask [`View`].
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.lock().clone()
    }

    /// How often tables were published.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Waits until something newer than `seen` is in force; returns its generation.
    pub async fn newer_than(&self, seen: u64) -> u64 {
        loop {
            let changed = self.changed.notified();
            let now = self.generation();
            if now > seen {
                return now;
            }
            changed.await;
        }
    }
}

/// One worker's view of the configuration.
#[derive(Debug)]
pub struct View {
    state: Arc<State>,
    current: RefCell<(u64, Current)>,
}

/// Tables whose count of references is the worker's own: the shared count would be fought over by all workers.
#[allow(clippy::redundant_allocation)]
pub type Current = Rc<Arc<Tables>>;

impl View {
    /// A view of `state`.
    pub fn new(state: Arc<State>) -> Self {
        let current = (state.generation(), Rc::new(state.tables()));
        Self { state, current: RefCell::new(current) }
    }

    /// The tables in force now. The count of references is the worker's own.
    pub fn tables(&self) -> Current {
        let generation = self.state.generation();
        let mut current = self.current.borrow_mut();
        if current.0 != generation {
            *current = (generation, Rc::new(self.state.tables()));
        }
        current.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_sees_what_was_published_last() {
        let state = State::new();
        let view = View::new(state.clone());
        let before = view.tables();
        let published = Arc::new(Tables::default());
        state.publish(published.clone());
        assert!(Arc::ptr_eq(&view.tables(), &published));
        assert!(!Arc::ptr_eq(&before, &published), "a request keeps the tables it began with");
    }
}
