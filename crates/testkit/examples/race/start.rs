//! How soon after its start a sidecar carries a request.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::eventually;

use crate::course::Course;

/// Asks for the server's page again and again, as soon as the client's network is there, and says when it got it, in seconds
/// since the machine started.
const ASK: &str = "until [ \"$(curl -s -o /dev/null -m 1 -w '%{http_code}' --resolve \"server:80:$0\" http://server/)\" = 200 ]; \
                   do sleep 0.002; done; cut -d' ' -f1 /proc/uptime";

/// Milliseconds from the start of the client's sidecar, the agent included, to its first request served.
///
/// # Errors
/// When the pod can't be replaced, or no request is served in time.
pub fn to_first_request(course: &Course<'_>, racer: &str) -> anyhow::Result<f64> {
    let kubectl = &course.kubectl;
    let server = kubectl.get(&["service", "server", "-n", racer])?;
    let address = server.pointer("/spec/clusterIP").and_then(|ip| ip.as_str()).context("a ClusterIP")?.to_owned();
    let scale = |to: &str| kubectl.run(&["scale", "-n", racer, "deployment/client", to]);
    scale("--replicas=0")?;
    kubectl.run(&["wait", "-n", racer, "--for=delete", "pod", "-l", "app=client", "--timeout=60s"])?;
    scale("--replicas=1")?;
    let mut found = None;
    eventually(Duration::from_secs(60), || {
        found = Some(course.sidecar(racer, "client")?);
        Ok(())
    })?;
    let sidecar = found.context("a sidecar")?;
    let network = ["--target", &sidecar.pid().to_string(), "--user", "--net", "--preserve-credentials", "--"];
    let output =
        Command::new("timeout").arg("60").arg("nsenter").args(network).args(["sh", "-c", ASK, &address]).output()?;
    ensure!(output.status.success(), "no request served: {}", String::from_utf8_lossy(&output.stderr));
    let served: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    let started = sidecar.started()?;
    course.wait()?;
    Ok((served - started) * 1e3)
}
