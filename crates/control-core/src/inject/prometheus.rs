//! Prometheus scrapes the agent, which adds the application's own metrics to the proxy's.

use serde_json::{Map, Value, json};

use super::settings::Settings;

const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";

/// Points the pod's Prometheus annotations at the agent; what they were is told to the proxy.
pub(super) fn merge(pod: &mut Value, settings: &Settings<'_>) {
    let wanted = settings
        .annotation("prometheus.istio.io/merge-metrics")
        .and_then(super::annotations::truth)
        .unwrap_or(settings.options.prometheus_merge);
    let port = settings.proxy_config.get("statusPort").and_then(Value::as_u64).unwrap_or(15020).to_string();
    let note = |name: &str| settings.annotation(name).map(str::to_owned);
    // An application that refuses to be scraped stays so.
    if !wanted || note(SCRAPE).is_some_and(|scrape| scrape == "false") {
        return;
    }
    let own: Map<String, Value> = [("scrape", note(SCRAPE)), ("path", note(PATH)), ("port", note(PORT))]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))))
        .collect();
    let already_ours = note(PORT).as_deref() == Some(&port) && note(PATH).as_deref() == Some("/stats/prometheus");
    if !own.is_empty() && !already_ours {
        let text = Value::Object(own).to_string();
        super::environment::set_on_proxy(pod, "ISTIO_PROMETHEUS_ANNOTATIONS", &text);
    }
    let Some(annotations) = super::object_at(&mut pod["metadata"], "annotations") else {
        return;
    };
    annotations.insert(SCRAPE.into(), json!("true"));
    annotations.insert(PORT.into(), json!(port));
    annotations.insert(PATH.into(), json!("/stats/prometheus"));
}
