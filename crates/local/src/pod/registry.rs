//! Which containers run and where their logs are, for those who look into pods.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::live::Live;
use crate::container::log::Log;

/// What is known about one container of a pod that exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// The current run, if it runs.
    pub(crate) live: Option<Arc<Live>>,
    /// The log being written, as long as something may be added.
    pub(crate) log: Option<Arc<Log>>,
    /// Where the log of the latest run is.
    pub(crate) path: Option<PathBuf>,
    /// Where the log of the run before is.
    pub(crate) previous: Option<PathBuf>,
}

/// All containers of the node, by the pod's uid and the container's name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<HashMap<(String, String), Entry>>,
    pods: Mutex<HashMap<String, PathBuf>>,
}

impl Registry {
    pub(crate) fn find(&self, uid: &str, container: &str) -> Option<Entry> {
        self.entries.lock().get(&(uid.to_owned(), container.to_owned())).cloned()
    }

    /// Changes what is known about a container.
    pub(crate) fn note(&self, uid: &str, container: &str, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.lock();
        change(entries.entry((uid.to_owned(), container.to_owned())).or_default());
    }

    /// Notes where a pod's namespaces are.
    pub(crate) fn note_pod(&self, uid: &str, namespaces: PathBuf) {
        self.pods.lock().insert(uid.to_owned(), namespaces);
    }

    /// Where a pod's namespaces are, while it has any.
    pub(crate) fn namespaces(&self, uid: &str) -> Option<PathBuf> {
        self.pods.lock().get(uid).cloned()
    }

    /// A pod's network is gone.
    pub(crate) fn forget_network(&self, uid: &str) {
        self.pods.lock().remove(uid);
    }

    /// A pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.forget_network(uid);
        self.entries.lock().retain(|(pod, _), _| pod != uid);
    }
}
