//! A steady stream of requests from a pod while something else happens to the mesh.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

use crate::kubectl::Kubectl;

/// Requests one after another from inside a pod until stopped; every status is kept.
pub struct Load {
    child: Child,
    kubectl: Kubectl,
    client: Vec<String>,
    stop_file: String,
}

/// What became of the requests of a [`Load`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests answered with 200.
    pub ok: usize,
    /// Every other line: a status, or `000` where no answer came.
    pub failed: Vec<String>,
    /// The values of the header `server` in answers with 200; a sidecar puts its own there.
    pub servers: BTreeSet<String>,
}

/// Runs in the pod: asks at least once, and until the file appears, at most 5 s for each request.
const SCRIPT: &str = r#"
while curl -s -o /dev/null -m 5 -w '%{http_code} %header{server}\n' "$0"; [ ! -e "$1" ]; do :; done
"#;

/// Loads started by this process; each is stopped by a file of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

impl Load {
    /// Starts asking for `url` from a pod that has a container `curl`; `client` is what `kubectl exec` takes: `deploy/curl`,
    /// or `-n NAMESPACE deploy/curl`.
    ///
    /// # Errors
    /// When `kubectl exec` can't be started.
    pub fn start(kubectl: &Kubectl, client: &[&str], url: &str) -> anyhow::Result<Self> {
        let stop_file = format!("/tmp/load-stop-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let args = [&["exec", "-c", "curl"], client, &["--", "sh", "-c", SCRIPT, url, &stop_file]].concat();
        let mut command: Command = kubectl.command(&args);
        let child = command.stdout(Stdio::piped()).spawn().context("kubectl exec")?;
        let client = client.iter().map(ToString::to_string).collect();
        Ok(Self { child, kubectl: kubectl.clone(), client, stop_file })
    }

    /// Ends the stream and counts.
    ///
    /// # Errors
    /// When the pod can't be reached any more.
    pub fn stop(self) -> anyhow::Result<Outcome> {
        let client: Vec<&str> = self.client.iter().map(String::as_str).collect();
        self.kubectl.run(&[&["exec", "-c", "curl"], &client[..], &["--", "touch", &self.stop_file]].concat())?;
        let output = self.child.wait_with_output()?;
        let mut outcome = Outcome::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(server) = line.strip_prefix("200 ") {
                outcome.ok += 1;
                outcome.servers.insert(server.to_owned());
            } else {
                outcome.failed.push(line.to_owned());
            }
        }
        Ok(outcome)
    }
}
