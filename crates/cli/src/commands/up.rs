//! `lateen up`: a cluster with the mesh on this machine.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use lateen_control_core::install::{InstallOptions, manifests};
use lateen_local::reexec::Platform;
use lateen_local::{Install, Progress, UpOptions, up};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::HomeArg;
use crate::images::Images;

/// Options of `lateen up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    home: HomeArg,
    /// Return when the cluster is ready and leave it running
    #[arg(short, long)]
    detach: bool,
    /// Port of the API server on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 6443)]
    port: u16,
    /// Also add the cluster to your own kubeconfig and make it the current one
    #[arg(long)]
    merge_kubeconfig: bool,
    /// Only the cluster, without the mesh
    #[arg(long)]
    bare: bool,
    /// Also start a gateway for requests to the outside, `istio-egressgateway`
    #[arg(long)]
    egress_gateway: bool,
    /// IPv6 beside IPv4 for pods and Services; the cluster keeps it until `down --purge`
    #[arg(long)]
    dual_stack: bool,
}

/// Starts the cluster; in the foreground, stays until it ends.
///
/// # Errors
/// When the cluster can't be started; the text says what to do.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = args.home.resolve()?;
    let merge = if args.merge_kubeconfig { Some(own_kubeconfig()?) } else { None };
    let mut terminal = Terminal { kubeconfig: home.join("kubeconfig"), detach: args.detach };
    let options = UpOptions {
        home,
        port: args.port,
        detach: args.detach,
        merge_kubeconfig: merge,
        bare: args.bare,
        egress_gateway: args.egress_gateway,
        dual_stack: args.dual_stack,
    };
    up(&options, &mut terminal)?;
    Ok(ExitCode::SUCCESS)
}

fn own_kubeconfig() -> anyhow::Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = std::env::var_os("HOME").context("HOME is not set, so there is no kubeconfig to merge into")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

/// Shows progress as lines.
struct Terminal {
    kubeconfig: PathBuf,
    detach: bool,
}

impl Progress for Terminal {
    fn step(&mut self, text: &str) {
        let _ = writeln!(std::io::stdout(), "  {text}");
    }

    fn ready(&mut self, api: &str) {
        let end = if self.detach { "lateen down" } else { "Ctrl-C, or lateen down" };
        let _ = writeln!(
            std::io::stdout(),
            "Ready: https://{api}\n  use it:  export KUBECONFIG={}\n      or:  lateen kubectl get pods -A\n  end it:  {end}",
            self.kubeconfig.display(),
        );
    }
}

/// What the cluster's process needs from this program. Called in that process only.
pub fn platform() -> Platform {
    let filter = EnvFilter::try_from_env("LATEEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).try_init();
    Platform { manifests: mesh, images: Arc::new(Images) }
}

/// The objects of the mesh in a local cluster.
fn mesh(install: &Install) -> Vec<Value> {
    if install.bare {
        return Vec::new();
    }
    let mut options = InstallOptions::local(env!("CARGO_PKG_VERSION"));
    options.capture_by_mark = !install.many_ids;
    options.egress_gateway = install.egress_gateway;
    let mut objects = lateen_api::crd::istio_crds();
    objects.extend(lateen_api::crd::gateway_api_crds());
    objects.extend(manifests(&options));
    objects
}
