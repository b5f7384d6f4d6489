//! The flags of `lateen proxy`: those of Istio's agent that the injector sets.

/// Serve as the data plane of one pod.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ProxyArgs {
    /// What kind of proxy
    #[arg(value_name = "ROLE", value_parser = ["sidecar", "router", "gateway"], default_value = "sidecar")]
    pub role: String,
    /// Domain of the pod's namespace
    #[arg(long)]
    pub domain: Option<String>,
    /// Log level of the data path
    #[arg(long = "proxyLogLevel", default_value = "warning")]
    pub proxy_log_level: String,
    /// Log levels of single components
    #[arg(long = "proxyComponentLogLevel", default_value = "misc:error")]
    pub component_log_level: String,
    /// Log level of everything else, as `scope:level`
    #[arg(long = "log_output_level", default_value = "default:info")]
    pub agent_log_level: String,
    /// Log as JSON
    #[arg(long = "log_as_json")]
    pub log_as_json: bool,
}

impl ProxyArgs {
    /// The level of the process's own log.
    pub fn log_level(&self) -> String {
        let scopes = self.agent_log_level.split(',');
        let level = scopes.filter_map(|s| s.rsplit_once(':')).find(|(scope, _)| matches!(*scope, "default" | "all"));
        match level.map_or(self.agent_log_level.as_str(), |(_, level)| level) {
            level @ ("debug" | "info" | "error") => level.to_owned(),
            "warn" | "warning" => "warn".to_owned(),
            "none" => "off".to_owned(),
            _ => "info".to_owned(),
        }
    }
}
