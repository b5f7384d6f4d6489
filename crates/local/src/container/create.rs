//! First stage of a container: joins the pod's namespaces, makes the PID namespace and starts the
//! container's first process in it. It ends at once; the node agent adopts that process.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use super::spec::ContainerSpec;
use crate::reexec::Stage;
use crate::stage::{self, Answer, Output};

/// Starts a container and answers the id of its first process, which is a child of the caller
/// from then on. The streams become the container's output.
pub(crate) async fn start(spec: &ContainerSpec, output: Output) -> Result<i32, String> {
    stage::ask(Stage::ContainerCreate, spec, output).await
}

pub(crate) fn main() -> ExitCode {
    let Ok((spec, socket)) = stage::asked::<ContainerSpec>() else { return ExitCode::from(2) };
    stage::answer(&socket, create(&spec))
}

fn create(spec: &ContainerSpec) -> Result<i32, String> {
    join_pod(&spec.namespaces).map_err(|e| format!("join the pod's namespaces: {e}"))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| format!("make a PID namespace: {e}"))?;
    let failed = |e: std::io::Error| format!("start the container: {e}");
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let mut command = Stage::ContainerInit.command();
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut child = command.spawn().map_err(failed)?;
    drop(command);
    stage::ask_blocking(&mut ours, spec).map_err(failed)?;
    // The container's program took over when its end closes without a word.
    let mut said = Vec::new();
    ours.read_to_end(&mut said).map_err(failed)?;
    if said.is_empty() {
        return Ok(child.id().cast_signed());
    }
    let _ = child.wait();
    match serde_json::from_slice::<Answer<()>>(&said) {
        Ok(Answer::Failed(reason)) => Err(reason),
        _ => Err("the container's first process ended early".to_owned()),
    }
}

/// Enters the namespaces that all containers of a pod share.
pub(super) fn join_pod(namespaces: &Path) -> std::io::Result<()> {
    for (kind, flag) in
        [("net", CloneFlags::CLONE_NEWNET), ("ipc", CloneFlags::CLONE_NEWIPC), ("uts", CloneFlags::CLONE_NEWUTS)]
    {
        setns(File::open(namespaces.join(kind))?, flag)?;
    }
    Ok(())
}
