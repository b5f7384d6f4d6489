//! The user's `kubectl`, unchanged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::cluster::{eventually, text_of};

/// `kubectl` with the kubeconfig of one mesh.
#[derive(Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: PathBuf, home: PathBuf) -> Self {
        Self { kubeconfig, home }
    }

    /// `kubectl ARGS`, not yet started; its cache lies in the mesh's home.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args).env("HOME", &self.home);
        command
    }

    /// Runs `kubectl ARGS` and returns its standard output.
    ///
    /// # Errors
    /// When it exits with an error; the error carries both streams.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args).output().context("kubectl")?;
        text_of(&output).with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// `kubectl apply -f PATH`.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn apply(&self, path: &Path) -> anyhow::Result<String> {
        self.run(&["apply", "-f", &path.display().to_string()])
    }

    /// `kubectl apply -f -` with `manifest` on standard input.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn apply_text(&self, manifest: &str) -> anyhow::Result<String> {
        let mut child = self
            .command(&["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin")?.write_all(manifest.as_bytes())?;
        text_of(&child.wait_with_output()?).context("kubectl apply -f -")
    }

    /// `kubectl get ARGS -o json`.
    ///
    /// # Errors
    /// As [`Kubectl::run`], or when the answer is not JSON.
    pub fn get(&self, args: &[&str]) -> anyhow::Result<Value> {
        let args = [&["get"], args, &["-o", "json"]].concat();
        Ok(serde_json::from_str(&self.run(&args)?)?)
    }

    /// Waits until every pod with the label is Ready.
    ///
    /// # Errors
    /// When that takes longer than a minute; the error carries `describe` of the pods.
    pub fn wait_ready(&self, selector: &str) -> anyhow::Result<()> {
        eventually(Duration::from_secs(10), || {
            let pods = self.get(&["pods", "-l", selector])?;
            anyhow::ensure!(pods["items"].as_array().is_some_and(|items| !items.is_empty()), "no pod with {selector}");
            Ok(())
        })?;
        self.run(&["wait", "pod", "--for=condition=Ready", "-l", selector, "--timeout=60s"]).map(drop).map_err(
            |error| {
                let described = self.run(&["describe", "pods", "-l", selector]).unwrap_or_default();
                error.context(described)
            },
        )
    }

    /// Runs a command in a container of the first pod of a deployment.
    ///
    /// # Errors
    /// As [`Kubectl::run`]; a failing command is an error.
    pub fn exec(&self, target: &str, command: &[&str]) -> anyhow::Result<String> {
        let args = [&["exec", target, "--"], command].concat();
        self.run(&args)
    }
}
