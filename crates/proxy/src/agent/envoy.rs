//! The Envoy process: started, asked, drained, ended.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::AgentError;
use crate::config::Config;
use crate::local_http;
use crate::readiness::Readiness;
use crate::status::Metrics;

/// How often Envoy is asked whether it is ready, until it is.
const READY_POLL: Duration = Duration::from_millis(200);
/// Longest wait for an answer of Envoy.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer.
const MAX_ANSWER: usize = 64 << 20;

/// Starts it. What the user gave after `--` comes first; the bootstrap is ours.
pub(super) fn start(command: &[String], config: &Config, bootstrap: &Path) -> Result<Child, AgentError> {
    let (program, arguments) = command.split_first().ok_or(AgentError::NoCommand)?;
    Command::new(program)
        .args(arguments)
        .arg("--config-path")
        .arg(bootstrap)
        .args(["--disable-hot-restart", "--drain-strategy", "immediate", "--log-level", "warning"])
        .args(["--drain-time-s", &config.drain.termination.as_secs().to_string()])
        .args(["--concurrency", &config.workers.to_string()])
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| AgentError::Start { program: program.clone(), error })
}

/// Envoy's administration port.
#[derive(Clone, Copy)]
pub(super) struct Admin(pub(super) SocketAddr);

impl Admin {
    async fn ask(&self, path: &str) -> Option<local_http::Answer> {
        local_http::get(self.0, None, path, HeaderMap::new(), MAX_ANSWER, ASK_TIMEOUT).await.ok()
    }

    /// Reports readiness once Envoy has its first configuration.
    pub(super) async fn watch(self, readiness: Arc<Readiness>) {
        while !self.ask("/ready").await.is_some_and(|answer| answer.status.is_success()) {
            tokio::time::sleep(READY_POLL).await;
        }
        readiness.clusters_received();
        readiness.listeners_received();
        readiness.published();
    }

    /// Stops listening, lets connections end.
    pub(super) async fn drain(&self) {
        let _ = local_http::post(self.0, "/drain_listeners?graceful&skip_exit", ASK_TIMEOUT).await;
    }
}

impl Metrics for Admin {
    async fn prometheus(&self) -> String {
        let answer = self.ask("/stats/prometheus?usedonly").await;
        answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default()
    }
}

/// Ends it, kindly at first.
pub(super) async fn end(mut child: Child) -> io::Result<ExitStatus> {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
    match tokio::time::timeout(ASK_TIMEOUT, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.kill().await?;
            child.wait().await
        }
    }
}
