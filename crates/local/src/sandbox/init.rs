//! The sandbox's first process: private mounts, then the cluster as its only child of importance.
//! When it ends, the kernel ends everything in the sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, sethostname};

use super::channel::Channel;
use super::message::{FromSandbox, Settings, ToSandbox};
use crate::container::mounts::bind;
use crate::paths::Home;
use crate::reexec::Stage;

pub(crate) fn main() -> ExitCode {
    let Ok(channel) = Channel::from_stdin() else { return ExitCode::from(2) };
    let Ok(Some((ToSandbox::Settings(settings), _))) = channel.recv() else {
        return ExitCode::from(2);
    };
    match run(channel.try_clone().ok(), &settings) {
        Ok(code) => ExitCode::from(code),
        Err(what) => {
            let _ = channel.send(&FromSandbox::Refused(what));
            ExitCode::from(1)
        }
    }
}

fn run(stdin: Option<Channel>, settings: &Settings) -> Result<u8, String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("be ended with its parent ({e})"))?;
    mounts(&Home::new(&settings.home)).map_err(|(what, e)| format!("{what} ({e})"))?;
    let _ = sethostname(crate::NODE_NAME);
    let sysctls = crate::network::sysctl::sandbox();
    sysctls.map_err(|(what, e)| format!("set {what} ({e})"))?;
    let binary =
        read_only_self(&Home::new(&settings.home)).map_err(|e| format!("mount the program read-only ({e})"))?;
    let child = Stage::SandboxNode
        .command_from(&binary)
        .stdin(stdin.map_or_else(Stdio::null, |channel| Stdio::from(channel.into_fd())))
        .spawn()
        .map_err(|e| format!("start the cluster ({e})"))?;
    Ok(reap_until(Pid::from_raw(child.id().cast_signed())))
}

fn mounts(home: &Home) -> Result<(), (&'static str, Errno)> {
    let none = None::<&str>;
    // Unmounts on the host still arrive here, so that the sandbox holds nothing busy.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).map_err(|e| ("make mounts private", e))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), safe, none).map_err(|e| ("mount /proc", e))?;
    // Shows the network devices of the sandbox; only looks, so its absence is no harm.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), safe | MsFlags::MS_RDONLY, none);
    private_tmpfs(&home.private())
}

/// This binary on a mount of its own that nothing can be written through. Whoever gets hold of the program of a process
/// on its way into a container (`/proc/PID/exe`) gets no more than that. It also outlives a change of the file.
fn read_only_self(home: &Home) -> std::io::Result<PathBuf> {
    let binary = home.private().join("lateen");
    fs::File::create(&binary)?;
    // By its path: what `/proc/self/exe` itself stands for lies in the mount namespace of the host.
    bind(&fs::read_link("/proc/self/exe")?, &binary, true)?;
    Ok(binary)
}

fn private_tmpfs(path: &Path) -> Result<(), (&'static str, Errno)> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0711")).map_err(|e| ("mount a tmpfs", e))?;
    let pods = path.join("pods");
    fs::create_dir(&pods).map_err(|e| ("use its tmpfs", Errno::from_raw(e.raw_os_error().unwrap_or_default())))
}

/// Collects orphans until the cluster ends, then answers its exit code.
fn reap_until(cluster: Pid) -> u8 {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == cluster => {
                return u8::try_from(code).unwrap_or(1);
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == cluster => {
                return 128 + u8::try_from(signal as i32).unwrap_or(0);
            }
            Err(Errno::ECHILD) => return 1,
            _ => {}
        }
    }
}
