//! `kubectl exec -it` on a real terminal whose size changes and that sends signals.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, eventually};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    master: File,
    shown: String,
}

impl OnTerminal {
    fn start(command: &Command, rows: u16, columns: u16) -> anyhow::Result<Self> {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave: OwnedFd = File::options().read(true).write(true).open(name.to_str()?)?.into();
        resize(&master, rows, columns)?;
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(Stdio::from(slave))
            .spawn()
            .context("setsid")?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self { child, master: master.into(), shown: String::new() })
    }

    /// Types a line and waits until the answer is on the screen.
    fn ask(&mut self, line: &str, answer: &str) -> anyhow::Result<()> {
        self.shown.clear();
        self.master.write_all(line.as_bytes())?;
        self.wait_for(answer)
    }

    fn wait_for(&mut self, answer: &str) -> anyhow::Result<()> {
        eventually(Duration::from_secs(20), || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = self.master.read(&mut buffer) {
                self.shown += &String::from_utf8_lossy(&buffer[..count]);
            }
            ensure!(self.shown.contains(answer), "`{answer}` is not on the screen: {:?}", self.shown);
            Ok(())
        })
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> anyhow::Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}

/// Terminals have a size, signals and exit codes.
pub fn check(cluster: &Cluster, releases: &[PathBuf]) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.apply_text(include_str!("pods.yaml"))?;
    kubectl.run(&["wait", "pod/two", "--for=condition=Ready", "--timeout=60s"])?;
    for release in releases {
        let plain = kubectl.command(&["exec", "-it", "two", "-c", "a", "--", "sh"]);
        let mut command = Command::new(release);
        command.args(plain.get_args());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut terminal = OnTerminal::start(&command, 40, 100)?;
        terminal.ask("stty size\n", "40 100")?;
        resize(&terminal.master, 50, 120)?;
        let resized = "until test \"$(stty size)\" = '50 120'; do sleep 0.1; done; echo $((6*9))\n";
        terminal.ask(resized, "54\r\n")?;
        terminal.ask("echo $((6*7)); sleep 1000\n", "42\r\n")?;
        terminal.ask("\x03", "^C")?;
        terminal.ask("echo code=$?\n", "code=130")?;
        terminal.ask("tty\n", "/dev/pts/")?;
        terminal.master.write_all(b"exit 7\n")?;
        terminal.wait_for("command terminated with exit code 7")?;
        ensure!(terminal.child.wait()?.code() == Some(7), "{}: the exit code is the command's", release.display());
    }
    Ok(())
}
