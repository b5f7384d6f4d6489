//! HTTP routes of one host at one listener, as one VirtualService.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio;

use super::attach::{Attachment, Target};
use crate::resource::{Config, Meta, ROUTE_SEMANTICS};

/// Annotation with the objects that something was made of.
pub(super) const PARENTS: &str = "internal.istio.io/parents";

/// Annotations of a VirtualService made of these routes.
pub(super) fn annotations(parents: String) -> BTreeMap<String, String> {
    BTreeMap::from([(PARENTS.to_owned(), parents), (ROUTE_SEMANTICS.to_owned(), "gateway".to_owned())])
}

/// The gateways that a VirtualService for a target names.
pub(super) fn mesh_or_gateway(target: &Target) -> Vec<String> {
    match target {
        Target::Listener { internal, .. } => vec![internal.clone()],
        Target::Mesh { .. } => vec!["mesh".to_owned()],
    }
}

/// Part of a VirtualService that is being put together.
struct Part {
    namespace: String,
    created: String,
    gateways: Vec<String>,
    host: String,
    parents: Vec<String>,
    rules: Vec<istio::HttpRoute>,
}

/// Gathers the rules of HTTPRoutes and GRPCRoutes by listener and host.
#[derive(Default)]
pub(super) struct Merged(BTreeMap<String, Part>);

impl Merged {
    /// Adds the rules of a route, for everything it attaches to. Routes have to come oldest first.
    pub(super) fn add(
        &mut self,
        kind: &str,
        meta: &Meta,
        hostnames: &[String],
        rules: &[istio::HttpRoute],
        attachments: &[Attachment],
    ) {
        if rules.is_empty() {
            return;
        }
        let any = ["*".to_owned()];
        let own: &[String] = if hostnames.is_empty() { &any } else { hostnames };
        for attachment in attachments.iter().filter(|attachment| attachment.denied.is_none()) {
            let target = &attachment.target;
            let (start, hosts, port) = match target {
                Target::Listener { internal, .. } => (internal.replace('/', "~"), own, None),
                Target::Mesh { hosts, port } => {
                    let port_part = port.map(|port| format!("~{port}")).unwrap_or_default();
                    (format!("{}{port_part}", meta.namespace), hosts.as_slice(), *port)
                }
            };
            for host in hosts.iter().filter(|host| target.leaves(host)) {
                let part = self.0.entry(format!("{start}~{host}")).or_insert_with(|| Part {
                    namespace: meta.namespace.clone(),
                    created: meta.created.clone(),
                    gateways: mesh_or_gateway(target),
                    host: host.clone(),
                    parents: Vec::new(),
                    rules: Vec::new(),
                });
                let parent = format!("{kind}/{}.{}", meta.name, meta.namespace);
                if !part.parents.contains(&parent) {
                    part.parents.push(parent);
                    part.rules.extend(rules.iter().cloned().map(|rule| on_port(rule, port)));
                }
            }
        }
    }

    /// The VirtualServices.
    pub(super) fn finish(self) -> impl Iterator<Item = Config<istio::VirtualService>> {
        self.0.into_iter().map(|(name, mut part)| {
            part.rules.sort_by_cached_key(precedence);
            let meta = Meta {
                namespace: part.namespace,
                name,
                annotations: annotations(part.parents.join(",")),
                created: part.created,
                ..Default::default()
            };
            let spec = istio::VirtualService {
                hosts: vec![part.host],
                gateways: part.gateways,
                http: part.rules,
                ..Default::default()
            };
            Config { meta, spec: Arc::new(spec), allocated: Vec::new() }
        })
    }
}

/// A rule that is only for callers of one port.
fn on_port(mut rule: istio::HttpRoute, port: Option<u32>) -> istio::HttpRoute {
    if port.is_some() {
        if rule.matches.is_empty() {
            rule.matches.push(istio::HttpMatchRequest::default());
        }
        rule.matches.iter_mut().for_each(|m| m.port = port);
    }
    rule
}

/// What comes first in this order is looked at first: exact paths, longer paths, a method, more headers, more
/// parameters; then the older route.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    takes_everything: bool,
    /// Kind and length.
    path: Reverse<(u8, usize)>,
    method: Reverse<bool>,
    /// Headers and parameters.
    conditions: Reverse<(usize, usize)>,
}

fn precedence(rule: &istio::HttpRoute) -> Precedence {
    let any = istio::HttpMatchRequest::default();
    let m = rule.matches.first().unwrap_or(&any);
    let path = match &m.uri {
        Some(istio::StringMatch { exact: Some(text), .. }) => (3, text.len()),
        Some(istio::StringMatch { prefix: Some(text), .. }) => (2, text.len()),
        Some(istio::StringMatch { regex: Some(text), .. }) => (1, text.len()),
        _ => (0, 0),
    };
    Precedence {
        takes_everything: rule.matches.is_empty(),
        path: Reverse(path),
        method: Reverse(m.method.is_some()),
        conditions: Reverse((m.headers.len(), m.query_params.len())),
    }
}
