//! Runs the user's `kubectl`, so that credentials, contexts and proxies are those the user has anyway.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// `kubectl` with the right kubeconfig: `$KUBECONFIG`, else that of the local mesh, else the user's default.
pub fn command() -> Command {
    let mut command = Command::new("kubectl");
    if std::env::var_os("KUBECONFIG").is_none()
        && let Some(path) = local_kubeconfig()
    {
        command.env("KUBECONFIG", path);
    }
    command
}

/// Runs `kubectl ARGS` and returns what it wrote.
///
/// # Errors
/// When there is no `kubectl`, or it fails; the error carries its own words.
pub fn output(args: &[&str]) -> anyhow::Result<String> {
    let output = command().args(args).output().context("kubectl can't be started; install it or put it on PATH")?;
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks a port on a container's loopback, from inside the container.
///
/// # Errors
/// As [`output`].
pub fn get_inside(namespace: &str, target: &str, container: &str, port: u16, path: &str) -> anyhow::Result<String> {
    let port = port.to_string();
    output(&["exec", "-n", namespace, target, "-c", container, "--", "lateen", "request", "GET", &port, path])
}

/// As [`get_inside`], with a JSON answer.
///
/// # Errors
/// As [`output`], or when the answer is not JSON.
pub fn get_json_inside(namespace: &str, target: &str, container: &str, port: u16, path: &str) -> anyhow::Result<Value> {
    let text = get_inside(namespace, target, container, port, path)?;
    serde_json::from_str(&text).with_context(|| format!("{target} answered {path} with something that is not JSON"))
}

/// Applies an object.
///
/// # Errors
/// As [`output`].
pub fn apply(object: &Value) -> anyhow::Result<()> {
    let mut child = command()
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("kubectl can't be started; install it or put it on PATH")?;
    child.stdin.take().context("kubectl takes no input")?.write_all(object.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn local_kubeconfig() -> Option<PathBuf> {
    let home = std::env::var_os("LATEEN_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".lateen")))?;
    let path = home.join("kubeconfig");
    path.is_file().then_some(path)
}
