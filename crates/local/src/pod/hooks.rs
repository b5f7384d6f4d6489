//! Lifecycle hooks: what runs right after a container starts and right before it is asked to end.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use super::handler;
use super::live::Live;

const AGENT: &str = "kube-lifecycle/1.33";
/// A hook that runs longer than anyone waits.
const LONGEST: Duration = Duration::from_secs(3600);

/// Runs a hook to its end.
pub(crate) async fn run(hook: &LifecycleHandler, live: &Live) -> Result<(), String> {
    let container = &live.spec;
    if let Some(action) = &hook.exec {
        let command = action.command.as_deref().unwrap_or_default();
        handler::exec(live.container.pid, &live.process, command, LONGEST).await
    } else if let Some(action) = &hook.http_get {
        handler::http(container, action, &live.ip, AGENT).await
    } else if let Some(action) = &hook.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    } else {
        Ok(())
    }
}
