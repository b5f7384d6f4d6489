//! Whether this proxy may be given traffic, and what it still waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::certs::CertStore;

/// What has to happen before the proxy is ready; from then on it stays so until it drains, whatever becomes of the
/// control plane.
pub struct Readiness {
    certs: Arc<CertStore>,
    clusters: AtomicBool,
    listeners: AtomicBool,
    serving: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Nothing has happened yet.
    pub fn new(certs: Arc<CertStore>) -> Readiness {
        let no = || AtomicBool::new(false);
        Readiness { certs, clusters: no(), listeners: no(), serving: no(), draining: no() }
    }

    /// Clusters came from the control plane.
    pub fn clusters_received(&self) {
        self.clusters.store(true, Ordering::Release);
    }

    /// Listeners came from the control plane.
    pub fn listeners_received(&self) {
        self.listeners.store(true, Ordering::Release);
    }

    /// Everything that came so far is in force. Counts once there are clusters and listeners.
    pub fn published(&self) {
        if self.clusters.load(Ordering::Acquire) && self.listeners.load(Ordering::Acquire) {
            self.serving.store(true, Ordering::Release);
        }
    }

    /// No new traffic, please.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the proxy is draining.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ready, or what is missing.
    pub fn check(&self) -> Result<(), &'static str> {
        let yes = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        if yes(&self.draining) {
            return Err("the proxy is draining");
        }
        if self.certs.identity().is_none() {
            return Err("no workload certificate yet: waiting for the certificate authority (CA_ADDR)");
        }
        if !yes(&self.clusters) {
            return Err("no clusters yet: waiting for the control plane (discoveryAddress)");
        }
        if !yes(&self.listeners) {
            return Err("no listeners yet: waiting for the control plane (discoveryAddress)");
        }
        if !yes(&self.serving) {
            return Err("listeners wait for routes and endpoints that have not come yet");
        }
        Ok(())
    }
}
