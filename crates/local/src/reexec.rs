//! The hidden subcommands: stages of a sandbox, pod or container that must run in a process of
//! their own, because namespaces can only be entered by a single-threaded process.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use crate::{ImageResolver, Install, container, network, sandbox};

/// What the local cluster needs from the program it is part of.
pub struct Platform {
    /// The manifests that make the mesh in a fresh cluster.
    pub manifests: fn(&Install) -> Vec<serde_json::Value>,
    /// Which images exist.
    pub images: Arc<dyn ImageResolver>,
}

/// A stage that runs as a re-executed child of this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Launcher,
    SandboxEnter,
    SandboxInit,
    SandboxNode,
    PodSandbox,
    ContainerCreate,
    ContainerInit,
    ContainerExec,
    ContainerTerminal,
    PodConnect,
}

const STAGES: [(Stage, &str); 10] = [
    (Stage::Launcher, "sandbox-launcher"),
    (Stage::SandboxEnter, "sandbox-enter"),
    (Stage::SandboxInit, "sandbox-init"),
    (Stage::SandboxNode, "sandbox-node"),
    (Stage::PodSandbox, "container-pod"),
    (Stage::ContainerCreate, "container-create"),
    (Stage::ContainerInit, "container-init"),
    (Stage::ContainerExec, "container-exec"),
    (Stage::ContainerTerminal, "container-terminal"),
    (Stage::PodConnect, "container-connect"),
];

impl Stage {
    fn name(self) -> &'static str {
        STAGES.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }

    /// A command that runs this stage in a new process.
    pub(crate) fn command(self) -> Command {
        self.command_from(Path::new("/proc/self/exe"))
    }

    /// The same by way of another file, which is this binary too.
    pub(crate) fn command_from(self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.arg0("lateen").arg(self.name());
        command
    }
}

/// Runs the hidden subcommand that `args` (without the program's name) asks for, if any.
/// Call it first in `main`, before anything starts a thread.
pub fn dispatch(args: &[String], platform: impl FnOnce() -> Platform) -> Option<ExitCode> {
    let stage = args.first().and_then(|arg| STAGES.iter().find(|(_, name)| name == arg))?.0;
    Some(match stage {
        Stage::Launcher => crate::launcher::detached_main(),
        Stage::SandboxEnter => sandbox::enter::main(),
        Stage::SandboxInit => sandbox::init::main(),
        Stage::SandboxNode => sandbox::node::main(platform()),
        Stage::PodSandbox => network::pod::main(),
        Stage::ContainerCreate => container::create::main(),
        Stage::ContainerInit => container::init::main(),
        Stage::ContainerExec => container::exec::main(),
        Stage::ContainerTerminal => container::exec::terminal_main(&args[1..]),
        Stage::PodConnect => network::connect::main(),
    })
}
