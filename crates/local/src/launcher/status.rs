//! What runs in a state directory.

use std::path::Path;

use super::state::running;
use crate::paths::Home;

/// The state of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No cluster runs; `kept` says whether there is state to come back to.
    Stopped {
        /// Whether a database exists.
        kept: bool,
    },
    /// A cluster runs.
    Running {
        /// Address of its API server.
        api: String,
        /// Process id of its launcher.
        pid: i32,
        /// Whether it has been ready.
        ready: bool,
        /// Seconds since its start.
        seconds: i64,
    },
}

/// Looks at a state directory.
pub fn status(home: &Path) -> Status {
    let home = Home::new(home);
    match running(&home) {
        None => Status::Stopped { kept: home.server().exists() },
        Some(found) => Status::Running {
            api: found.api,
            pid: found.pid,
            ready: found.ready,
            seconds: jiff::Timestamp::now().as_second() - found.started.as_second(),
        },
    }
}
