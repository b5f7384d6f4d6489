//! Group `gateway-status`: what the Gateway API's objects become, and the status they get; counted by object.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_api::istio;
use lateen_control_core::gateway_api::{Cluster, Front, Objects, convert, merged};
use lateen_control_core::resource::{self, Credential, GatewayApi, Meta, Resource, services_of_entry};
use lateen_mesh::labels::Labels;
use lateen_testkit::conformance::Score;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Fixture {
    domain_suffix: String,
    services: Vec<Service>,
    objects: Vec<Value>,
}

#[derive(Deserialize)]
struct Service {
    hostname: String,
    #[serde(default)]
    external_addresses: Vec<String>,
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Port {
    name: String,
    port: u16,
}

/// The cluster that all cases assume, with the ServiceEntries of one.
struct World<'a> {
    fixture: &'a Fixture,
    namespaces: Vec<(String, Labels)>,
    secrets: BTreeMap<(String, String), Credential>,
    roots: BTreeMap<(String, String), Vec<u8>>,
    entries: BTreeMap<(String, String), Vec<String>>,
}

impl<'a> World<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        // Namespaces that the cases select by label.
        let part = |name: &str, part: &str| {
            let labels = Labels::from([("istio.io/test-name-part".to_owned(), part.to_owned())]);
            (name.to_owned(), labels)
        };
        let namespaces = vec![
            part("default", "default"),
            part("group-namespace1", "group"),
            part("group-namespace2", "group"),
            part("istio-system", "istio-system"),
        ];
        let mut world =
            Self { fixture, namespaces, secrets: BTreeMap::new(), roots: BTreeMap::new(), entries: BTreeMap::new() };
        for object in &fixture.objects {
            let mut object = object.clone();
            for (key, text) in object["stringData"].as_object().cloned().unwrap_or_default() {
                object["data"][key] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
            }
            world.add(object);
        }
        world
    }

    fn add(&mut self, object: Value) {
        let Ok((key, parsed)) = resource::parse(object) else { return };
        let id = (key.namespace, key.name);
        match parsed {
            Resource::Secret(secret) => drop(self.secrets.insert(id, (*secret).clone())),
            Resource::Roots(Some(pem)) => drop(self.roots.insert(id, pem.to_vec())),
            Resource::ServiceEntry(entry) => {
                let hosts = services_of_entry(&entry).into_iter().map(|service| service.hostname.to_string());
                self.entries.insert(id, hosts.collect());
            }
            _ => {}
        }
    }

    fn service(&self, host: &str) -> Option<&Service> {
        self.fixture.services.iter().find(|service| service.hostname == host)
    }
}

impl Cluster for World<'_> {
    fn domain(&self) -> &str {
        &self.fixture.domain_suffix
    }

    fn namespaces(&self) -> Vec<(&str, &Labels)> {
        self.namespaces.iter().map(|(name, labels)| (name.as_str(), labels)).collect()
    }

    fn has_host(&self, host: &str) -> bool {
        self.service(host).is_some()
    }

    fn front(&self, host: &str) -> Option<Front> {
        let service = self.service(host)?;
        let ports: BTreeSet<u16> = service.ports.iter().map(|port| port.port).collect();
        let outside = service.external_addresses.clone();
        Some(Front { ready: ports.clone(), ports, outside, ..Front::default() })
    }

    fn ports(&self, namespace: &str, service: &str) -> Option<BTreeMap<String, u16>> {
        let service = self.service(&format!("{service}.{namespace}.svc.{}", self.domain()))?;
        Some(service.ports.iter().map(|port| (port.name.clone(), port.port)).collect())
    }

    fn entry_hosts(&self, namespace: &str, name: &str) -> Option<Vec<String>> {
        self.entries.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&Credential> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn config_map_roots(&self, namespace: &str, name: &str) -> Option<&[u8]> {
        self.roots.get(&(namespace.to_owned(), name.to_owned())).map(Vec::as_slice)
    }
}

#[test]
fn gateway_status() -> anyhow::Result<()> {
    let Some(folder) = crate::group("gateway-status") else { return Ok(()) };
    let fixture: Fixture = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("fixture.yaml"))?)?;
    let mut score = Score::new("gateway-status");
    let mut cases: Vec<_> = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check(&case, &name, &fixture, &mut score)?;
    }
    score.settle()
}

fn check(case: &Path, name: &str, fixture: &Fixture, score: &mut Score) -> anyhow::Result<()> {
    let mut world = World::new(fixture);
    let mut parsed = Vec::new();
    for object in documents(&case.join("input.yaml"))? {
        world.add(object.clone());
        if let Ok((_, Resource::GatewayApi(object))) = resource::parse(object) {
            parsed.push(object);
        }
    }
    let mut objects = Objects::default();
    for object in &parsed {
        match &**object {
            GatewayApi::Class(object) => objects.classes.push(object),
            GatewayApi::Gateway(object) => objects.gateways.push(object),
            GatewayApi::ListenerSet(object) => objects.listener_sets.push(object),
            GatewayApi::Http(object) => objects.http_routes.push(object),
            GatewayApi::Grpc(object) => objects.grpc_routes.push(object),
            GatewayApi::Tls(object) => objects.tls_routes.push(object),
            GatewayApi::Tcp(object) => objects.tcp_routes.push(object),
            GatewayApi::Grant(object) => objects.grants.push(object),
            GatewayApi::BackendTls(object) => objects.backend_policies.push(object),
        }
    }
    objects.sort();
    let made = convert(&objects, &world);
    let statuses = made.statuses.iter().filter_map(|(key, status)| {
        let written = merged(&Value::Null, status, "fake")?;
        Some((described(key.kind.group_and_name().1, &key.namespace, &key.name), written))
    });
    compare(&format!("{name} status"), statuses.collect(), expected_statuses(case)?, score);
    let mut converted = BTreeMap::new();
    converted.extend(made.gateways.iter().map(|c| shown("Gateway", &c.meta, &*c.spec)));
    converted.extend(made.virtual_services.iter().map(|c| shown("VirtualService", &c.meta, &*c.spec)));
    converted.extend(made.destination_rules.iter().map(|c| shown("DestinationRule", &c.meta, &*c.spec)));
    let expected = documents(&case.join("converted.yaml"))?.into_iter().map(complete);
    compare(&format!("{name} converted"), converted, expected.collect::<Result<_, _>>()?, score);
    Ok(())
}

/// Each object that is expected or made counts once.
fn compare(what: &str, mut made: BTreeMap<String, Value>, expected: BTreeMap<String, Value>, score: &mut Score) {
    for (id, expected) in expected {
        let outcome = match made.remove(&id) {
            Some(made) if made == expected => Ok(()),
            Some(made) => Err(format!("got {made}\n  expected {expected}")),
            None => Err("is missing".to_owned()),
        };
        score.count(format!("{what}: {id}"), outcome);
    }
    for (id, made) in made {
        score.count(format!("{what}: {id}"), Err(format!("should not be there: {made}")));
    }
}

fn described(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind} {namespace}/{name}")
}

fn expected_statuses(case: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let all = documents(&case.join("status.yaml"))?.into_iter().filter_map(|object| {
        let status = object["status"].clone();
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let empty = status.as_object().is_none_or(|fields| fields.is_empty());
        let id = described(&text("/kind"), &text("/metadata/namespace"), &text("/metadata/name"));
        (!empty).then_some((id, status))
    });
    Ok(all.collect())
}

fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    let all = serde_saphyr::from_multiple::<Value>(&text);
    let all = all.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(all.into_iter().filter(Value::is_object).collect())
}

fn shown(kind: &str, meta: &Meta, spec: &impl serde::Serialize) -> (String, Value) {
    (described(kind, &meta.namespace, &meta.name), json!({"annotations": meta.annotations, "spec": spec}))
}

/// An expected object in the same form, with its defaults.
fn complete(object: Value) -> anyhow::Result<(String, Value)> {
    let (meta, spec) = (Meta::of(&object), object["spec"].clone());
    Ok(match object["kind"].as_str() {
        Some("Gateway") => shown("Gateway", &meta, &serde_json::from_value::<istio::Gateway>(spec)?),
        Some("VirtualService") => {
            shown("VirtualService", &meta, &serde_json::from_value::<istio::VirtualService>(spec)?)
        }
        Some("DestinationRule") => {
            shown("DestinationRule", &meta, &serde_json::from_value::<istio::DestinationRule>(spec)?)
        }
        other => anyhow::bail!("unexpected {other:?}"),
    })
}
