//! A run of a container, shared with those who look into it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::container::running;
use crate::container::spec::Process;

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) container: Arc<running::Container>,
    /// What its first process was started with; further processes start alike.
    pub(crate) process: Arc<Process>,
    pub(crate) spec: Arc<Container>,
    pub(crate) ip: String,
    /// How it ended, once it has.
    pub(crate) exited: watch::Receiver<Option<running::Exit>>,
    /// Watches over it as long as someone holds it.
    pub(crate) _probes: Task,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
