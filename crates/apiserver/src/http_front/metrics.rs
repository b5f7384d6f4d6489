//! `/metrics`: what this server has answered, in Prometheus' text format and under Kubernetes' names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};

use http::Request;
use parking_lot::Mutex;

use super::path::{Path, Target};
use crate::engine::Engine;

/// What the requests are counted by. Only resources that exist have names here, so that there are not many.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: &'static str,
    scope: &'static str,
}

const SUBRESOURCES: [&str; 11] =
    ["attach", "binding", "eviction", "exec", "finalize", "log", "portforward", "proxy", "scale", "status", "token"];

/// Counts of requests.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    running: AtomicI64,
}

/// One request that is being answered.
pub struct Counted<'a> {
    metrics: &'a Metrics,
    labels: Labels,
}

impl Metrics {
    /// Notes that a request has come.
    pub fn begin<B>(&self, engine: &Engine, request: &Request<B>) -> Counted<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Counted { metrics: self, labels: labels(engine, request) }
    }

    /// All numbers as text.
    pub fn text(&self, engine: &Engine) -> String {
        let mut out = String::from("# TYPE apiserver_request_total counter\n");
        for ((labels, code), count) in &*self.requests.lock() {
            let Labels { verb, group, version, resource, subresource, scope } = labels;
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"{group}\",\
                 resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",\
                 version=\"{version}\"}} {count}"
            );
        }
        out.push_str("# TYPE apiserver_current_inflight_requests gauge\n");
        let running = self.running.load(Ordering::Relaxed);
        let _ = writeln!(out, "apiserver_current_inflight_requests {running}");
        out.push_str("# TYPE apiserver_storage_objects gauge\n");
        let mut seen = std::collections::BTreeSet::new();
        for resource in engine.registry().iter().filter(|r| !r.virtual_only) {
            if seen.insert(resource.collection.clone()) {
                let count = engine.store.list(&resource.collection, None).items.len();
                let name = [resource.plural.as_str(), &resource.group].join(".");
                let _ =
                    writeln!(out, "apiserver_storage_objects{{resource=\"{}\"}} {count}", name.trim_end_matches('.'));
            }
        }
        out
    }
}

impl Counted<'_> {
    /// Notes how it was answered.
    pub fn end(self, code: u16) {
        let labels = self.labels.clone();
        *self.metrics.requests.lock().entry((labels, code)).or_default() += 1;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn labels<B>(engine: &Engine, request: &Request<B>) -> Labels {
    let method = match *request.method() {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        _ => "other",
    };
    let Ok(Path::Resource(target)) = Path::parse(request.uri().path()) else {
        return Labels { verb: method, ..Labels::default() };
    };
    if engine.resource(&target.gvr).is_err() {
        return Labels { verb: method, ..Labels::default() };
    }
    let watching = request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "watch=true" || p == "watch=1"));
    let subresource = SUBRESOURCES.into_iter().find(|s| *s == target.subresource).unwrap_or_default();
    let verb = match method {
        "GET" if watching => "WATCH",
        "GET" if target.name.is_empty() => "LIST",
        "DELETE" if target.name.is_empty() => "DELETECOLLECTION",
        other => other,
    };
    let scope = scope(&target);
    let gvr = target.gvr;
    Labels {
        verb,
        group: gvr.group.to_string(),
        version: gvr.version.to_string(),
        resource: gvr.resource.to_string(),
        subresource,
        scope,
    }
}

fn scope(target: &Target) -> &'static str {
    match (target.name.is_empty(), target.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}
