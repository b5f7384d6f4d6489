//! The world of Istio's tests: workloads that tell what they saw and make calls from where they run.

mod authorities;
mod forwarded;
mod ingress;
mod manifests;
mod ports;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::cluster::{Cluster, eventually};
use crate::kubectl::Kubectl;
pub use ingress::Ingress;
pub use manifests::{Kind, Workload};
pub use ports::{PORTS, Port};
pub use source::{Response, Source};

/// The host by which the mesh knows the workload outside it.
pub const EXTERNAL_HOST: &str = "fake.external.com";

/// The ingress gateway of an installation, and that of [`World::security`].
const INSTALLED_INGRESS: &str = "istio-ingressgateway";
const INGRESS: &str = "ingressgateway";

/// Workloads in a running cluster, ready.
pub struct World {
    kubectl: Kubectl,
    workloads: Vec<Workload>,
    ingress: &'static str,
    /// By `NAME.NAMESPACE`: the Service's address, and the addresses of the pods.
    addresses: BTreeMap<String, (String, Vec<String>)>,
}

impl World {
    /// The world of routing: everything in namespace `echo`, and a workload outside the mesh in `external`. It has no
    /// `tproxy`, since capture by TPROXY is not there yet.
    ///
    /// # Errors
    /// When the workloads can't be made or don't become ready.
    pub fn routing(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut workloads: Vec<_> = [
            ("a", Kind::Regular),
            ("b", Kind::Regular),
            ("c", Kind::Regular),
            ("headless", Kind::Headless),
            ("statefulset", Kind::StatefulSet),
            ("naked", Kind::Naked),
            ("vm", Kind::Vm),
        ]
        .map(|(name, kind)| Workload::new(name, "echo", kind))
        .into();
        workloads.push(Workload::new("external", "external", Kind::Naked));
        Self::start(cluster, workloads, manifests::external_service("echo", "external"), INSTALLED_INGRESS)
    }

    /// The world of security: namespaces `ns1` and `ns2`, external authorizers, and a server of the keys that signed
    /// the tokens of the conformance data.
    ///
    /// # Errors
    /// When the workloads can't be made or don't become ready.
    pub fn security(cluster: &Cluster) -> anyhow::Result<Self> {
        let workloads = vec![
            Workload::new("a", "ns1", Kind::Regular),
            Workload::new("b", "ns1", Kind::Regular),
            Workload::new("headless", "ns1", Kind::Headless),
            Workload::new("naked", "ns1", Kind::Naked),
            Workload::new("vm", "ns1", Kind::Vm),
            Workload::new("migration", "ns1", Kind::Regular).version("vistio"),
            Workload::new("migration", "ns1", Kind::Naked).version("vlegacy"),
            Workload::new("a", "ns2", Kind::Regular),
            Workload::new("b", "ns2", Kind::Regular),
        ];
        authorities::configure(&cluster.kubectl())?;
        let mut further = authorities::objects()?;
        further.extend(ingress::objects(INGRESS));
        let world = Self::start(cluster, workloads, further, INGRESS)?;
        world.wait(authorities::NAMESPACE)?;
        Ok(world)
    }

    fn start(
        cluster: &Cluster,
        workloads: Vec<Workload>,
        further: Vec<Value>,
        ingress: &'static str,
    ) -> anyhow::Result<Self> {
        let kubectl = cluster.kubectl();
        let mut objects = manifests::namespaces(&workloads);
        objects.extend(workloads.iter().flat_map(Workload::objects));
        objects.extend(further);
        kubectl.apply_text(&manifests::list(objects))?;
        let mut world = Self { kubectl, workloads, ingress, addresses: BTreeMap::new() };
        for namespace in world.namespaces() {
            world.wait(&namespace)?;
        }
        world.addresses = eventually(Duration::from_secs(10), || world.look_up())?;
        Ok(world)
    }

    fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<_> = self.workloads.iter().map(|workload| workload.namespace.clone()).collect();
        namespaces.dedup();
        namespaces
    }

    /// Waits until everything in a namespace is rolled out.
    fn wait(&self, namespace: &str) -> anyhow::Result<()> {
        let args = ["rollout", "status", "deployment,statefulset", "-n", namespace, "--timeout=120s"];
        self.kubectl.run(&args).map(drop)
    }

    fn look_up(&self) -> anyhow::Result<BTreeMap<String, (String, Vec<String>)>> {
        let services = self.kubectl.get(&["services", "-A"])?;
        let pods = self.kubectl.get(&["pods", "-A", "-l", "test.istio.io/class"])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut addresses = BTreeMap::new();
        for service in services["items"].as_array().into_iter().flatten() {
            let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
            let of_service =
                |pod: &&Value| pod["metadata"]["labels"]["app"] == *name && pod["metadata"]["namespace"] == *namespace;
            let pods = pods["items"].as_array().into_iter().flatten().filter(of_service);
            let pods: Vec<_> = pods.map(|pod| text(&pod["status"]["podIP"])).collect();
            anyhow::ensure!(pods.iter().all(|address| !address.is_empty()), "a pod of {name} has no address yet");
            let id = format!("{}.{}", text(name), text(namespace));
            addresses.insert(id, (text(&service["spec"]["clusterIP"]), pods));
        }
        Ok(addresses)
    }

    /// The real `kubectl`, pointed at the cluster of this world.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The workload `name` of `namespace`.
    #[must_use]
    pub fn find(&self, name: &str, namespace: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == name && workload.namespace == namespace)
    }

    /// The workloads of a namespace.
    pub fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Workload> {
        self.workloads.iter().filter(move |workload| workload.namespace == namespace)
    }

    /// The address of a Service.
    #[must_use]
    pub fn service_address(&self, name: &str, namespace: &str) -> Option<&str> {
        self.addresses.get(&format!("{name}.{namespace}")).map(|(service, _)| service.as_str())
    }

    /// The address of the first pod of a Service.
    #[must_use]
    pub fn pod_address(&self, name: &str, namespace: &str) -> Option<&str> {
        self.addresses.get(&format!("{name}.{namespace}"))?.1.first().map(String::as_str)
    }

    /// What stands in policies for the external authorizers (`provider.http`, `provider.grpc`) and the address of the
    /// keys (`jwks.uri`) of [`World::security`].
    #[must_use]
    pub fn authorities() -> BTreeMap<&'static str, String> {
        authorities::names()
    }

    /// The way in for clients outside the cluster, once the gateway is ready.
    ///
    /// # Errors
    /// When it does not become ready, or does not let itself be asked.
    pub fn ingress(&self) -> anyhow::Result<Ingress> {
        let gateway = format!("deployment/{}", self.ingress);
        self.kubectl.run(&["rollout", "status", &gateway, "-n", "istio-system", "--timeout=120s"])?;
        Ingress::open(&self.kubectl, self.ingress)
    }

    /// A way to have a workload make calls.
    ///
    /// # Errors
    /// When there is no such workload, or its port can't be forwarded.
    pub fn source(&self, name: &str, namespace: &str) -> anyhow::Result<Source> {
        let workload = self.find(name, namespace).with_context(|| format!("no workload {name}.{namespace}"))?;
        Source::open(&self.kubectl, workload)
    }
}
