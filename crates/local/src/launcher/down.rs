//! Stopping a cluster.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::UpError;
use super::state::running;
use crate::paths::Home;

/// How to stop a cluster.
#[derive(Debug, Clone)]
pub struct Down {
    /// The state directory.
    pub home: PathBuf,
    /// Delete the state too.
    pub purge: bool,
}

/// Stops the cluster of a state directory. Says whether one ran.
pub fn down(options: &Down) -> Result<bool, UpError> {
    let home = Home::new(&options.home);
    let found = running(&home);
    if let Some(found) = &found {
        stop(&home, found.pid)?;
    }
    if fs::exists(home.run()).unwrap_or(false) {
        fs::remove_dir_all(home.run()).map_err(|e| UpError::state(&home.run(), e))?;
    }
    if options.purge && home.root().exists() {
        purge(&home)?;
    }
    Ok(found.is_some())
}

fn stop(home: &Home, pid: i32) -> Result<(), UpError> {
    let target = Pid::from_raw(pid);
    for (signal, patience) in [(Signal::SIGTERM, 15), (Signal::SIGKILL, 5)] {
        let _ = kill(target, signal);
        let until = Instant::now() + Duration::from_secs(patience);
        while Instant::now() < until {
            if running(home).is_none() && kill(target, None).is_err() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Err(UpError::StillRunning { pid, log: home.log().display().to_string() })
}

/// Deletes what a cluster keeps, and the directory when nothing else is in it.
fn purge(home: &Home) -> Result<(), UpError> {
    for path in [home.server(), home.volumes(), home.root().join("logs")] {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| UpError::state(&path, e))?;
        }
    }
    for path in [home.kubeconfig()] {
        if path.exists() {
            fs::remove_file(&path).map_err(|e| UpError::state(&path, e))?;
        }
    }
    let _ = fs::remove_dir(home.root());
    Ok(())
}
