//! BackendTLSPolicies: how gateways and sidecars call backends by TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::gateway_api as api;
use lateen_api::istio::{
    ClientTlsMode, ClientTlsSettings, DestinationRule, PortSelector, PortTrafficPolicy, TrafficPolicy,
};
use serde_json::{Value, json};

use super::certificate::{self, CONFIG_MAP};
use super::condition::{Condition, conditions};
use super::gateway::Gateway;
use super::merge::PARENTS;
use super::status::Status;
use super::{Cluster, Converted, MADE, MESH_CONTROLLER, Objects, Problem};
use crate::resource::{Config, Key, Kind, Meta, Object};

/// Annotation of policies that are for others.
const IGNORED: &str = "istio.io/ignore-policy-attachment";
/// Name of a ConfigMap that there is none of: connections that need it fail.
const NO_ROOTS: &str = "configmap://-/invalid";

/// Part of a DestinationRule that is being put together.
#[derive(Default)]
struct Part {
    tls: Option<ClientTlsSettings>,
    ports: Vec<PortTrafficPolicy>,
    parents: Vec<String>,
    namespace: String,
    name: String,
}

/// Puts in the DestinationRules and statuses of all policies. Of several for one backend the oldest counts.
pub(super) fn convert(objects: &Objects<'_>, cluster: &dyn Cluster, gateways: &[Gateway<'_>], made: &mut Converted) {
    let callers = callers(gateways, made);
    let mut taken: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for policy in &objects.backend_policies {
        let ignored = policy.meta.annotations.get(IGNORED).is_some_and(|value| value == "true");
        let judged = if ignored { Judged::ignored() } else { Judged::new(policy, objects, cluster) };
        let mut entries: Vec<Value> = Vec::new();
        for target in &policy.spec.target_refs {
            let host = format!("{}.{}.svc.{}", target.name, policy.meta.namespace, cluster.domain());
            let problem = judged.accepted.clone().or_else(|| unusable(target, policy, cluster)).or_else(|| {
                let first = taken.insert((host.clone(), target.section_name.clone()));
                (!first).then(|| Problem::new("Conflicted", "An older BackendTLSPolicy is for the same target"))
            });
            let in_force = problem.is_none() || problem.as_ref().is_some_and(|p| p.reason == "NoValidCACertificate");
            if in_force && !ignored {
                let part = parts.entry(host.clone()).or_default();
                part.add(target, policy, &judged, cluster);
            }
            for ancestor in ancestors(target, callers.get(&host), gateways) {
                let entry = judged.entry(ancestor, problem.clone(), policy.generation, ignored);
                if !entries.iter().any(|old| old["ancestorRef"] == entry["ancestorRef"]) {
                    entries.push(entry);
                }
            }
        }
        let id = Key::new(Kind::BackendTlsPolicy, &policy.meta.namespace, &policy.meta.name);
        made.statuses.insert(id, Status::entries("ancestors", MESH_CONTROLLER, entries));
    }
    made.destination_rules.extend(parts.into_iter().map(|(host, part)| part.finish(host)));
}

/// The Gateways through which each host is called.
fn callers(gateways: &[Gateway<'_>], made: &Converted) -> BTreeMap<String, BTreeSet<usize>> {
    let mut by_listener: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, gateway) in gateways.iter().enumerate() {
        by_listener.extend(gateway.all_listeners().map(|listener| (listener.internal.as_str(), place)));
    }
    let mut all: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for service in &made.virtual_services {
        let Some(place) = service.spec.gateways.first().and_then(|name| by_listener.get(name.as_str())) else {
            continue;
        };
        let http = service.spec.http.iter().flat_map(|rule| rule.route.iter().map(|to| &to.destination));
        let tls = service.spec.tls.iter().flat_map(|rule| rule.route.iter().map(|to| &to.destination));
        for destination in http.chain(tls) {
            all.entry(destination.host.clone()).or_default().insert(*place);
        }
    }
    all
}

/// Those by whom the status of a policy is told: the Gateways that call its target, else the target itself.
fn ancestors(target: &api::PolicyTarget, callers: Option<&BTreeSet<usize>>, gateways: &[Gateway<'_>]) -> Vec<Value> {
    let Some(callers) = callers else {
        return vec![json!({"group": target.group, "kind": target.kind, "name": target.name})];
    };
    let shown = |place: &usize| {
        let meta = &gateways[*place].object.meta;
        json!({"group": api::GROUP, "kind": "Gateway", "namespace": meta.namespace, "name": meta.name})
    };
    callers.iter().map(shown).collect()
}

/// Why a policy cannot be for a target.
fn unusable(
    target: &api::PolicyTarget,
    policy: &Object<api::BackendTlsPolicy>,
    cluster: &dyn Cluster,
) -> Option<Problem> {
    if !target.group.is_empty() || target.kind != "Service" {
        let message = format!("unsupported target: group \"{}\" kind \"{}\"", target.group, target.kind);
        return Some(Problem::new("Invalid", message));
    }
    let namespace = &policy.meta.namespace;
    let host = format!("{}.{namespace}.svc.{}", target.name, cluster.domain());
    if !cluster.has_host(&host) {
        return Some(Problem::new("TargetNotFound", format!("service {namespace}/{} not found", target.name)));
    }
    let section = target.section_name.as_ref()?;
    let known = cluster.ports(namespace, &target.name).is_none_or(|ports| ports.contains_key(section));
    let message = || format!("service {namespace}/{} has no port named \"{section}\"", target.name);
    (!known).then(|| Problem::new("TargetNotFound", message()))
}

/// What is wrong with a policy wherever it is for.
struct Judged {
    accepted: Option<Problem>,
    references: Option<Problem>,
    /// Name of its roots; empty for those of the machine.
    roots: String,
}

impl Judged {
    fn ignored() -> Self {
        let message = format!("Ignored by Istio due to annotation {IGNORED}=true");
        let accepted = Some(Problem::new("IgnoredByIstio", message));
        Self { accepted, references: None, roots: String::new() }
    }

    fn new(policy: &Object<api::BackendTlsPolicy>, objects: &Objects<'_>, cluster: &dyn Cluster) -> Self {
        let validation = &policy.spec.validation;
        match validation.well_known_ca_certificates.as_deref() {
            Some("System") => return Self { accepted: None, references: None, roots: String::new() },
            Some(other) => {
                let message = format!("unknown wellKnownCACertificates \"{other}\"; System is known");
                let accepted = Some(Problem::new("Invalid", message));
                return Self { accepted, references: None, roots: NO_ROOTS.to_owned() };
            }
            None => {}
        }
        let mut problem = Problem::new("InvalidCACertificateRef", "caCertificateRefs names no certificate");
        for reference in &validation.ca_certificate_refs {
            if !certificate::is_kind(reference, "ConfigMap", "ConfigMap") {
                let shown = certificate::shown(reference);
                let message = format!("invalid caCertificateRef {shown}, only ConfigMap is allowed");
                problem = Problem::new("InvalidKind", message);
                continue;
            }
            let own = api::ObjectRef { namespace: None, ..reference.clone() };
            match certificate::roots(&own, &policy.meta.namespace, "caCertificateRef", objects, cluster) {
                Ok((_, namespace, name)) => {
                    return Self { accepted: None, references: None, roots: format!("{CONFIG_MAP}{namespace}/{name}") };
                }
                Err(why) => problem = why,
            }
        }
        let accepted = Some(Problem::new("NoValidCACertificate", problem.message.clone()));
        Self { accepted, references: Some(problem), roots: NO_ROOTS.to_owned() }
    }

    fn entry(&self, ancestor: Value, accepted: Option<Problem>, generation: i64, ignored: bool) -> Value {
        const FINE: &str = "Configuration is valid";
        let mut all = vec![Condition::new("Accepted", "Accepted", FINE).but(accepted)];
        if !ignored {
            all.push(Condition::new("ResolvedRefs", "ResolvedRefs", FINE).but(self.references.clone()));
        }
        json!({
            "ancestorRef": ancestor,
            "controllerName": MESH_CONTROLLER,
            "conditions": conditions(all, generation),
        })
    }
}

impl Part {
    fn add(
        &mut self,
        target: &api::PolicyTarget,
        policy: &Object<api::BackendTlsPolicy>,
        judged: &Judged,
        cluster: &dyn Cluster,
    ) {
        let validation = &policy.spec.validation;
        let names = validation.subject_alt_names.iter().filter_map(|name| match name.kind.as_str() {
            "URI" => name.uri.clone(),
            _ => name.hostname.clone(),
        });
        let mut names: Vec<String> = names.collect();
        if names.is_empty() {
            names.push(validation.hostname.clone());
        }
        let tls = ClientTlsSettings {
            mode: Some(ClientTlsMode::Simple),
            sni: validation.hostname.clone(),
            credential_name: judged.roots.clone(),
            subject_alt_names: names,
            ..Default::default()
        };
        self.namespace.clone_from(&policy.meta.namespace);
        self.name.clone_from(&target.name);
        self.parents.push(format!("BackendTLSPolicy/{}.{}", policy.meta.namespace, policy.meta.name));
        let Some(section) = &target.section_name else {
            self.tls = Some(tls);
            return;
        };
        let ports = cluster.ports(&policy.meta.namespace, &target.name).unwrap_or_default();
        if let Some(number) = ports.get(section) {
            let port = Some(PortSelector { number: u32::from(*number) });
            self.ports.push(PortTrafficPolicy { port, tls: Some(tls), ..Default::default() });
        }
    }

    fn finish(self, host: String) -> Config<DestinationRule> {
        let meta = Meta {
            namespace: self.namespace,
            name: format!("{}~{MADE}", self.name),
            annotations: BTreeMap::from([(PARENTS.to_owned(), self.parents.join(","))]),
            ..Default::default()
        };
        let policy = TrafficPolicy { tls: self.tls, port_level_settings: self.ports, ..Default::default() };
        let spec = DestinationRule { host, traffic_policy: Some(policy), ..Default::default() };
        Config { meta, spec: Arc::new(spec), allocated: Vec::new() }
    }
}
