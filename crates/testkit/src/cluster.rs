//! A whole mesh for one test: started in a home of its own, gone when the test ends, also when it fails.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::kubectl::Kubectl;

/// Who runs the mesh. Tests that are not run by root run everything as whoever runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Root, with a range of user ids in the sandbox.
    Root,
    /// A user id without any privilege and without subordinate ids.
    Nobody,
}

/// The id of [`User::Nobody`]; unlike 65534 it is nobody else's.
const NOBODY: &str = "64999";

/// A running mesh. Dropping it stops it and removes its home.
pub struct Cluster {
    /// The user's home; the mesh's state lies in a folder of it.
    user_home: tempfile::TempDir,
    home: PathBuf,
    binary: PathBuf,
    user: User,
}

impl Cluster {
    /// Starts a mesh as `user` on a free port and waits until API server and control plane are ready.
    ///
    /// # Errors
    /// When the binary is missing (`LATEEN_BIN`, else `target/release/lateen`) or `up` fails; the error carries what it said.
    pub fn start(user: User) -> anyhow::Result<Self> {
        Self::start_with(user, &[])
    }

    /// The same, with further options of `up` for this start.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(user: User, options: &[&str]) -> anyhow::Result<Self> {
        let user_home = tempfile::Builder::new().prefix("lateen-e2e-").tempdir()?;
        let home = user_home.path().join("state");
        let mut cluster = Self { user_home, home, binary: binary()?, user };
        if user == User::Nobody && we_are_root() {
            // The checkout may lie where that user can't look.
            let copy = cluster.user_home.path().join("lateen");
            std::fs::copy(&cluster.binary, &copy)?;
            cluster.binary = copy;
            let owner = format!("{NOBODY}:{NOBODY}");
            run(Command::new("chown").args(["-R", &owner]).arg(cluster.user_home.path()))?;
        }
        cluster.up_with(options)?;
        Ok(cluster)
    }

    /// `lateen up -d` in this home; also brings a stopped or killed mesh back.
    ///
    /// # Errors
    /// When `up` exits with an error.
    pub fn up(&self) -> anyhow::Result<()> {
        self.up_with(&[])
    }

    fn up_with(&self, options: &[&str]) -> anyhow::Result<()> {
        self.run(&[&["up", "--detach", "--port", "0"], options].concat()).map(drop)
    }

    /// `lateen down`, keeping the state.
    ///
    /// # Errors
    /// When `down` exits with an error.
    pub fn down(&self) -> anyhow::Result<()> {
        self.run(&["down"]).map(drop)
    }

    /// Puts a new file in the place of the program of [`User::Nobody`], as an upgrade does.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn replace_program(&self) -> anyhow::Result<()> {
        let new = self.user_home.path().join("new");
        std::fs::copy(&self.binary, &new)?;
        Ok(std::fs::rename(new, self.user_home.path().join("lateen"))?)
    }

    /// Runs `lateen ARGS` as the mesh's user and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it exits with an error; the error carries both streams.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args).output().with_context(|| self.binary.display().to_string())?;
        text_of(&output).with_context(|| format!("lateen {}", args.join(" ")))
    }

    /// `lateen ARGS` as the mesh's user, not yet started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.user {
            User::Nobody if we_are_root() => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(&self.binary);
                command
            }
            _ => Command::new(&self.binary),
        };
        command.args(args).env("LATEEN_HOME", &self.home).env("HOME", self.user_home.path());
        command
    }

    /// The real `kubectl`, pointed at this mesh.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.home.join("kubeconfig"), self.user_home.path().to_path_buf())
    }

    /// Where this mesh keeps its state.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
        if let Err(error) = self.run(&["down", "--purge"]) {
            eprintln!("lateen down --purge: {error:#}");
        }
    }
}

impl Cluster {
    /// A failing test shows the end of the mesh's own logs, since the home is about to go.
    fn keep_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.home.join("logs")) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- {}", path.display());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Repeats `check` until it succeeds.
///
/// # Errors
/// The last error, once `limit` has passed.
pub fn eventually<T>(limit: Duration, mut check: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = std::time::Instant::now() + limit;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if std::time::Instant::now() >= deadline => {
                return Err(error.context(format!("not within {limit:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/testkit lies in the repository")
        .to_path_buf()
}

fn we_are_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("LATEEN_BIN").map_or_else(|| repository().join("target/release/lateen"), PathBuf::from);
    ensure!(path.is_file(), "{} is missing: run `make build`, or set LATEEN_BIN", path.display());
    Ok(path)
}

/// Standard output of a finished process.
///
/// # Errors
/// When it failed; the error carries both streams.
pub(crate) fn text_of(output: &Output) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    text_of(&command.output()?).map(drop)
}
