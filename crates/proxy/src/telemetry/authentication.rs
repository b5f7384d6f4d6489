//! How often requests passed the check of their tokens, under Envoy's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::labels::escaped;
use crate::record::Tokens;

/// What one worker has counted, by outcome and the prefix of the connection manager.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(BTreeMap<(Tokens, Arc<str>), u64>);

impl Counts {
    /// Counts a request.
    pub(super) fn add(&mut self, manager: &Arc<str>, outcome: Tokens) {
        *self.0.entry((outcome, manager.clone())).or_default() += 1;
    }

    /// Adds what another worker has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// In Prometheus' text form.
    pub(super) fn write(&self, out: &mut String) {
        let mut last = None;
        for ((outcome, manager), count) in &self.0 {
            let name = match outcome {
                Tokens::Allowed => "envoy_http_jwt_authn_allowed",
                Tokens::Denied => "envoy_http_jwt_authn_denied",
                Tokens::Bypassed => "envoy_http_jwt_authn_cors_preflight_bypassed",
            };
            if last.replace(outcome) != Some(outcome) {
                let _ = writeln!(out, "# TYPE {name} counter");
            }
            let _ = writeln!(out, "{name}{{http_conn_manager_prefix=\"{}\"}} {count}", escaped(manager));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_under_envoy_s_names() {
        let (a, b): (Arc<str>, Arc<str>) = ("inbound_0.0.0.0_80".into(), "inbound_0.0.0.0_81".into());
        let (mut counts, mut other) = (Counts::default(), Counts::default());
        counts.add(&a, Tokens::Allowed);
        other.add(&a, Tokens::Allowed);
        other.add(&b, Tokens::Allowed);
        other.add(&a, Tokens::Denied);
        counts.merge(&other);
        let mut text = String::new();
        counts.write(&mut text);
        let expected = "# TYPE envoy_http_jwt_authn_allowed counter\n\
            envoy_http_jwt_authn_allowed{http_conn_manager_prefix=\"inbound_0.0.0.0_80\"} 2\n\
            envoy_http_jwt_authn_allowed{http_conn_manager_prefix=\"inbound_0.0.0.0_81\"} 1\n\
            # TYPE envoy_http_jwt_authn_denied counter\n\
            envoy_http_jwt_authn_denied{http_conn_manager_prefix=\"inbound_0.0.0.0_80\"} 1\n";
        assert_eq!(text, expected);
    }
}
