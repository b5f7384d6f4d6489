//! A steady stream of requests from a pod while something else happens to the mesh.

use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::kubectl::Kubectl;

/// Requests one after another from inside a pod until stopped; every status is kept.
pub struct Load {
    child: Child,
    kubectl: Kubectl,
    pod: String,
}

/// What became of the requests of a [`Load`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests answered with 200.
    pub ok: usize,
    /// Every other line: a status, or `000` where no answer came.
    pub failed: Vec<String>,
}

/// Runs in the pod: asks until the file appears, at most 5 s for each request.
const SCRIPT: &str = r#"
rm -f /tmp/load-stop
while [ ! -e /tmp/load-stop ]; do
  curl -s -o /dev/null -m 5 -w '%{http_code}\n' "$0"
done
"#;

impl Load {
    /// Starts asking for `url` from deployment `from`.
    ///
    /// # Errors
    /// When `kubectl exec` can't be started.
    pub fn start(kubectl: &Kubectl, from: &str, url: &str) -> anyhow::Result<Self> {
        let mut command: Command = kubectl.command(&["exec", from, "-c", "curl", "--", "sh", "-c", SCRIPT, url]);
        let child = command.stdout(Stdio::piped()).spawn().context("kubectl exec")?;
        Ok(Self { child, kubectl: kubectl.clone(), pod: from.to_owned() })
    }

    /// Ends the stream and counts.
    ///
    /// # Errors
    /// When the pod can't be reached any more.
    pub fn stop(self) -> anyhow::Result<Outcome> {
        self.kubectl.exec(&self.pod, &["touch", "/tmp/load-stop"])?;
        let output = self.child.wait_with_output()?;
        let mut outcome = Outcome::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if line == "200" {
                outcome.ok += 1;
            } else {
                outcome.failed.push(line.to_owned());
            }
        }
        Ok(outcome)
    }
}
