//! Which container images exist: there is no registry.

/// How a container of an image is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// An image that is part of this binary.
    Builtin {
        /// The image's entry point, as a command line.
        entrypoint: Vec<String>,
        /// The arguments used where the pod gives none.
        cmd: Vec<String>,
        /// Programs offered at `/usr/local/bin`, each a link to the binary, where the host has
        /// none of that name.
        applets: Vec<String>,
        /// The image's environment.
        env: Vec<(String, String)>,
        /// The uid the image runs as where the pod doesn't say.
        user: Option<u32>,
        /// The uid's gid.
        group: Option<u32>,
    },
    /// Programs of this machine, seen read-only; the pod gives the command.
    Host,
}

/// Finds the image for a reference in a pod.
pub trait ImageResolver: Send + Sync {
    /// The image that serves `reference`, if there is one.
    fn resolve(&self, reference: &str) -> Option<Image>;
    /// References that a user may write, to show where one isn't found.
    fn available(&self) -> Vec<String>;
}
