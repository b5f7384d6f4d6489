//! How often rules let something pass or refused it, under Envoy's names.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use lateen_proxy_core::rbac::Verdict;

use super::labels::escaped;

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The connection manager of requests; `None` for byte streams.
    manager: Option<Arc<str>>,
    /// Prefix of the filter.
    stat_prefix: Arc<str>,
    /// Prefix of rules that are only tried.
    tried: Option<Arc<str>>,
    allowed: bool,
}

/// What one worker has counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(HashMap<Key, u64>);

impl Counts {
    /// Counts a verdict.
    pub(super) fn add(&mut self, manager: Option<&Arc<str>>, verdict: &Verdict<'_>) {
        let rbac = verdict.rbac;
        let mut count = |tried: Option<Arc<str>>, allowed: bool| {
            let stat_prefix = rbac.stat_prefix.clone();
            *self.0.entry(Key { manager: manager.cloned(), stat_prefix, tried, allowed }).or_default() += 1;
        };
        if let Some(outcome) = verdict.enforced {
            count(None, outcome.allowed);
        }
        if let Some(outcome) = verdict.tried {
            count(Some(rbac.tried_prefix.clone()), outcome.allowed);
        }
    }

    /// Adds what another worker has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// In Prometheus' text form.
    pub(super) fn write(&self, out: &mut String) {
        let mut metrics: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (key, count) in &self.0 {
            *metrics.entry(key.name()).or_default().entry(key.labels()).or_default() += count;
        }
        for (name, series) in metrics {
            let _ = writeln!(out, "# TYPE {name} counter");
            for (labels, count) in series {
                let _ = writeln!(out, "{name}{{{labels}}} {count}");
            }
        }
    }
}

impl Key {
    fn result(&self) -> &'static str {
        if self.allowed { "allowed" } else { "denied" }
    }

    /// The action that a dry run is of.
    fn dry_run(&self) -> Option<&str> {
        self.tried.as_deref()?.strip_prefix("istio_dry_run_")?.strip_suffix('_')
    }

    fn name(&self) -> String {
        let scope = if self.manager.is_some() { "http" } else { &self.stat_prefix };
        let what = match (&self.tried, self.dry_run()) {
            (None, _) => String::new(),
            (Some(_), Some(_)) => "shadow_".to_owned(),
            (Some(prefix), None) => format!("{prefix}shadow_"),
        };
        let separator = if scope.is_empty() { "" } else { "_" };
        format!("envoy_{scope}{separator}rbac_{what}{}", self.result())
    }

    fn labels(&self) -> String {
        let manager = self.manager.iter().map(|name| format!("http_conn_manager_prefix=\"{}\"", escaped(name)));
        let dry_run = self
            .dry_run()
            .map(|action| format!("authz_dry_run_action=\"{action}\",authz_dry_run_result=\"{}\"", self.result()));
        manager.chain(dry_run).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use lateen_proxy_core::rbac::{Action, Rbac, Rules};

    use super::*;

    #[test]
    fn verdicts_are_counted_under_envoy_s_names() {
        let rules = || Some(Rules::new(Action::Allow, vec![]));
        let tried_prefix: Arc<str> = "istio_dry_run_allow_".into();
        let rbac = Arc::new(Rbac { enforced: rules(), tried: rules(), tried_prefix, stat_prefix: "tcp".into() });
        let head = lateen_proxy_core::head::SimpleHead::get("web", "/");
        let request = lateen_proxy_core::rbac::Request {
            head: Some(&head),
            destination: ([10, 0, 0, 1], 80).into(),
            direct: [10, 0, 0, 2].into(),
            remote: [10, 0, 0, 2].into(),
            server_name: "",
            peer: None,
        };
        let enforced = rbac.enforced.as_ref().map(|rules| rules.decide(&request));
        let tried = rbac.tried.as_ref().map(|rules| rules.decide(&request));
        let verdict = Verdict { rbac: &rbac, enforced, tried };
        let mut counts = Counts::default();
        counts.add(Some(&"inbound_0.0.0.0_80".into()), &verdict);
        counts.add(None, &verdict);
        let mut sum = counts.clone();
        sum.merge(&counts);
        let mut text = String::new();
        sum.write(&mut text);
        for line in [
            "envoy_http_rbac_denied{http_conn_manager_prefix=\"inbound_0.0.0.0_80\"} 2",
            "envoy_http_rbac_shadow_denied{http_conn_manager_prefix=\"inbound_0.0.0.0_80\",\
             authz_dry_run_action=\"allow\",authz_dry_run_result=\"denied\"} 2",
            "envoy_tcp_rbac_denied{} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
