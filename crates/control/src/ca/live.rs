//! The CA as it is now, for everybody who signs with it or tells others what to trust.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Active, Authority};
use crate::ca::rotation::Rotation;

/// Replaced while it is in use. Clones are the same CA.
#[derive(Clone)]
pub struct Live {
    active: Arc<watch::Sender<Active>>,
}

impl Live {
    /// Begins with this one.
    pub fn new(first: Arc<Authority>) -> Self {
        Live { active: Arc::new(watch::Sender::new(Rotation::new(first).active())) }
    }

    /// What is in force.
    pub fn now(&self) -> Active {
        self.active.borrow().clone()
    }

    /// Tells of changes; the current state counts as seen.
    pub fn follow(&self) -> watch::Receiver<Active> {
        self.active.subscribe()
    }

    pub(super) fn replace(&self, active: Active) {
        self.active.send_replace(active);
    }
}
