//! The course: for each racer a namespace with the same client, servers and resources; only the sidecars differ.

use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, eventually, repository};
use lateen_testkit::kubectl::Kubectl;

use crate::sidecar::Sidecar;

/// The namespaces, one for each data plane; ours comes first.
pub const RACERS: [&str; 2] = ["lateen", "envoy"];

/// A change is in effect, and what it took is given back, after this.
const SETTLE: Duration = Duration::from_secs(5);

const ENVOY: &str = ".tools/envoy-1.40.0";

/// A mesh with both racers at rest.
pub struct Course<'a> {
    cluster: &'a Cluster,
    /// The real kubectl.
    pub kubectl: Kubectl,
}

impl<'a> Course<'a> {
    /// Applies everything and waits until each client gets an answer from its server.
    ///
    /// # Errors
    /// When Envoy is missing, or pods don't become ready.
    pub fn lay(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let folder = repository().join(ENVOY);
        ensure!(folder.join("envoy").is_file(), "no Envoy in {}: run scripts/setup.sh bench", folder.display());
        let course = Self { cluster, kubectl: cluster.kubectl() };
        course.access_log(false)?;
        course.kubectl.apply_text(include_str!("mesh.yaml"))?;
        for racer in RACERS {
            course.kubectl.run(&["create", "namespace", racer])?;
            course.kubectl.run(&["label", "namespace", racer, "istio-injection=enabled"])?;
            let (annotations, container) = match racer {
                "envoy" => (mounts(&folder.display().to_string()), AGENT),
                _ => (String::new(), ""),
            };
            let manifest = include_str!("racer.yaml")
                .replace("${racer}", racer)
                .replace("${annotations}", &annotations)
                .replace("${sidecar}", container);
            course.kubectl.apply_text(&manifest)?;
        }
        course.wait()?;
        Ok(course)
    }

    /// Replaces the clients' pods: a sidecar's memory tells of what it did before.
    ///
    /// # Errors
    /// When the new ones don't become ready.
    pub fn renew(&self) -> anyhow::Result<()> {
        for racer in RACERS {
            self.kubectl.run(&["rollout", "restart", "-n", racer, "deployment/client"])?;
        }
        self.wait()?;
        for racer in RACERS {
            eventually(Duration::from_secs(60), || self.sidecar(racer, "client").map(drop))?;
        }
        Ok(())
    }

    /// Waits until all pods are ready, and each client gets an answer from its server.
    ///
    /// # Errors
    /// When they don't become so in time.
    pub fn wait(&self) -> anyhow::Result<()> {
        for racer in RACERS {
            for app in ["client", "server"] {
                let deployment = format!("deployment/{app}");
                self.kubectl.run(&["rollout", "status", "-n", racer, &deployment, "--timeout=90s"])?;
            }
            eventually(Duration::from_secs(30), || {
                let status = self.in_client(racer, "curl -s -o /dev/null -w '%{http_code}' http://server/")?;
                ensure!(status == "200", "the server of {racer} answers {status}");
                Ok(())
            })?;
        }
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Runs a shell script in the racer's client pod and returns what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn in_client(&self, racer: &str, script: &str) -> anyhow::Result<String> {
        self.kubectl.run(&["exec", "-n", racer, "deploy/client", "-c", "load", "--", "sh", "-c", script])
    }

    /// The racer's sidecar in the pod of `app`.
    ///
    /// # Errors
    /// When there isn't exactly one.
    pub fn sidecar(&self, racer: &str, app: &str) -> anyhow::Result<Sidecar> {
        Sidecar::find(self.cluster.home(), racer, app).with_context(|| format!("the sidecar of {racer}/{app}"))
    }

    /// Turns the JSON access log of the whole mesh on or off.
    ///
    /// # Errors
    /// When the MeshConfig can't be changed.
    pub fn access_log(&self, on: bool) -> anyhow::Result<()> {
        let map = self.kubectl.get(&["configmap", "istio", "-n", "istio-system"])?;
        let mesh = map["data"]["mesh"].as_str().context("no MeshConfig")?;
        let mut text: String = mesh
            .lines()
            .filter(|line| !line.starts_with("accessLog"))
            .fold(String::new(), |text, line| text + line + "\n");
        if on {
            text.push_str("accessLogFile: /dev/stdout\naccessLogEncoding: JSON\n");
        }
        let patch = serde_json::json!({"data": {"mesh": text}}).to_string();
        self.kubectl.run(&["patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", &patch])?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Adds what is in `manifest`, all of it in the namespace `crowd`; all racers' proxies get it.
    ///
    /// # Errors
    /// When it isn't accepted.
    pub fn crowd(&self, manifest: &str) -> anyhow::Result<()> {
        self.kubectl.apply_text(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: crowd}}\n{manifest}"))?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Takes the crowd away again.
    ///
    /// # Errors
    /// When it can't be deleted.
    pub fn empty(&self) -> anyhow::Result<()> {
        self.kubectl.run(&["delete", "namespace", "crowd", "--wait=true"])?;
        std::thread::sleep(SETTLE);
        Ok(())
    }
}

/// The same injected sidecar, whose container runs the agent of a stock Envoy.
const AGENT: &str = "- {name: istio-proxy, image: auto, args: [proxy, agent, --, /opt/envoy/envoy]}";

fn mounts(folder: &str) -> String {
    format!(
        "sidecar.istio.io/userVolume: '[{{\"name\":\"envoy\",\"hostPath\":{{\"path\":\"{folder}\"}}}}]', \
         sidecar.istio.io/userVolumeMount: '[{{\"name\":\"envoy\",\"mountPath\":\"/opt/envoy\",\"readOnly\":true}}]'"
    )
}
