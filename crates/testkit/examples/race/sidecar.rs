//! What a sidecar costs, as the machine counts it.

use std::path::Path;

use anyhow::{Context, ensure};
use lateen_testkit::processes;

/// The processes of one sidecar: the proxy, and the agent beside it where it has one.
pub struct Sidecar {
    pids: Vec<u32>,
    proxy: u32,
}

impl Sidecar {
    /// The sidecar of the pod of deployment `app` in a namespace.
    ///
    /// # Errors
    /// When there isn't exactly one proxy.
    pub fn find(home: &Path, namespace: &str, app: &str) -> anyhow::Result<Self> {
        let (ns, pod) = (format!("POD_NAMESPACE={namespace} "), format!("POD_NAME={app}-"));
        let ours: Vec<_> = processes::of_mesh(home)?
            .into_iter()
            .filter(|process| {
                let environment = format!("{} ", process.environment);
                environment.contains(&ns) && environment.contains(&pod) && !process.command.contains("container-")
            })
            .collect();
        let is_proxy = |command: &str| command.contains(" proxy sidecar") || command.starts_with("/opt/envoy/envoy");
        let proxies: Vec<u32> =
            ours.iter().filter(|process| is_proxy(&process.command)).map(|process| process.pid).collect();
        ensure!(proxies.len() == 1, "{} proxies among {ours:#?}", proxies.len());
        let pids = ours
            .iter()
            .filter(|process| is_proxy(&process.command) || process.command.contains(" proxy agent"))
            .map(|process| process.pid)
            .collect();
        Ok(Self { pids, proxy: proxies[0] })
    }

    /// Processor time used so far, in microseconds; the kernel counts in steps of 10 ms.
    ///
    /// # Errors
    /// When the sidecar is gone.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        let seconds: f64 = self.pids.iter().map(|pid| processes::cpu(*pid)).sum::<anyhow::Result<_>>()?;
        Ok(seconds * 1e6)
    }

    /// When its first process started, in seconds since the machine did.
    ///
    /// # Errors
    /// When the sidecar is gone.
    pub fn started(&self) -> anyhow::Result<f64> {
        let all = self.pids.iter().map(|pid| processes::started(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
        all.into_iter().min_by(f64::total_cmp).context("a process")
    }

    /// A process that shares the pod's network.
    pub fn pid(&self) -> u32 {
        self.proxy
    }

    /// Resident memory of the proxy alone, in MiB.
    ///
    /// # Errors
    /// When the sidecar is gone.
    pub fn resident(&self) -> anyhow::Result<f64> {
        processes::resident(self.proxy)
    }
}
