//! Where a local cluster keeps its state on the host.

use std::path::{Path, PathBuf};

/// The state directory (`~/.lateen`, `--home` or `LATEEN_HOME`) and what is in it.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The state directory at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Home { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the API server keeps: the database, and the cluster's own keys and certificates.
    pub fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    /// The kubeconfig for this cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The log of the cluster's own processes.
    pub fn log(&self) -> PathBuf {
        self.root.join("logs/lateen.log")
    }

    /// Logs of containers.
    pub fn pod_logs(&self) -> PathBuf {
        self.root.join("logs/pods")
    }

    /// The directories of persistent volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// A file that is there when the cluster has IPv6 beside IPv4.
    pub fn dual_stack(&self) -> PathBuf {
        self.root.join("dual-stack")
    }

    /// What exists only while the cluster runs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Held locked by the launcher.
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// What `status` and `down` know about the running launcher.
    pub fn running(&self) -> PathBuf {
        self.run().join("state.json")
    }

    /// The program that the cluster runs, whatever becomes of the file that it was started from.
    pub fn program(&self) -> PathBuf {
        self.run().join("lateen")
    }

    /// Where the sandbox mounts its private tmpfs; empty when seen from outside.
    pub fn private(&self) -> PathBuf {
        self.run().join("private")
    }
}

/// Paths in the sandbox's private tmpfs that belong to one pod.
#[derive(Debug, Clone)]
pub struct PodPaths {
    root: PathBuf,
}

impl PodPaths {
    /// The paths of the pod with this uid, below the private tmpfs.
    pub fn new(private: &Path, uid: &str) -> Self {
        PodPaths { root: private.join("pods").join(uid) }
    }

    /// Everything of the pod.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the pod's namespaces are pinned by bind mounts.
    pub fn namespaces(&self) -> PathBuf {
        self.root.join("ns")
    }

    /// The content of one volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    /// Scratch space of one container: mount point of its root.
    pub fn container(&self, name: &str) -> PathBuf {
        self.root.join("containers").join(name)
    }
}
