//! `/server_info`

use serde_json::{Value, json};

use super::AdminParts;

pub(super) fn server_info(parts: &AdminParts) -> Value {
    let config = &parts.config;
    let state = match (parts.readiness.is_draining(), parts.readiness.check()) {
        (true, _) => "DRAINING",
        (false, Ok(())) => "LIVE",
        (false, Err(_)) => "INITIALIZING",
    };
    let uptime = parts.telemetry.process().uptime();
    json!({
        "version": concat!("lateen/", env!("CARGO_PKG_VERSION")),
        "state": state,
        "hot_restart_version": "disabled",
        "uptime_current_epoch": format!("{uptime}s"),
        "uptime_all_epochs": format!("{uptime}s"),
        "command_line_options": {
            "concurrency": config.workers,
            "log_level": parts.log.current(),
            "service_cluster": config.node.cluster,
            "service_node": config.node.id,
            "drain_time": format!("{}s", config.drain.termination.as_secs()),
        },
        "node": { "id": config.node.id, "cluster": config.node.cluster },
    })
}
