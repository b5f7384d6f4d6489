//! Starting a cluster and staying with it until it ends.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::diagnose::Machine;
use super::idmap::IdMap;
use super::progress::Progress;
use super::state::{Lock, Running, running};
use super::{UpError, exit, kubeconfig, program, sockets};
use crate::options::UpOptions;
use crate::paths::Home;
use crate::reexec::Stage;
use crate::sandbox::channel::Channel;
use crate::sandbox::message::{FromSandbox, Settings, ToSandbox};
use crate::sandbox::outside::Wanted;

/// How long a cluster may take to end after it was asked to.
const STOP_TIME: Duration = Duration::from_secs(10);
/// How long a detached start waits for a cluster that another start has begun.
const JOIN_TIME: Duration = Duration::from_secs(120);
/// How long a running cluster may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// Starts a cluster. Detached, it returns when the cluster is ready; else when it has ended.
/// When one already runs in the same state directory, that one is left as it is.
pub fn up(options: &UpOptions, progress: &mut dyn Progress) -> Result<(), UpError> {
    let home = Home::new(&options.home);
    if join(&home, progress)? {
        return Ok(());
    }
    if options.detach { detach(options, &home, progress) } else { run(options, progress) }
}

/// Waits until a cluster started by someone else is ready; false when there is none, or none any more: one that is
/// ending still says that it is ready.
fn join(home: &Home, progress: &mut dyn Progress) -> Result<bool, UpError> {
    let until = Instant::now() + JOIN_TIME;
    let mut told = false;
    while let Some(found) = running(home) {
        if !told {
            progress.step("a cluster already runs in this state directory");
            told = true;
        }
        if found.ready && listens(&found.api) {
            progress.ready(&found.api);
            return Ok(true);
        }
        if Instant::now() > until {
            return Err(UpError::Start {
                reason: "the cluster that was starting did not become ready".into(),
                log: home.log().display().to_string(),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

/// Whether anybody takes connections at an address.
fn listens(address: &str) -> bool {
    address.parse().is_ok_and(|address| TcpStream::connect_timeout(&address, CONNECT_TIME).is_ok())
}

/// Starts the launcher as a process of its own and passes on what it says until it is ready.
fn detach(options: &UpOptions, home: &Home, progress: &mut dyn Progress) -> Result<(), UpError> {
    drop(Lock::take(home)?);
    let (ours, theirs) = Channel::pair().map_err(|e| UpError::process("make a channel", e))?;
    let log = open_log(home)?;
    let mut child = Stage::Launcher
        .command()
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(log.try_clone().map_err(|e| UpError::state(&home.log(), e))?)
        .stderr(log)
        .process_group(0)
        .current_dir("/")
        .spawn()
        .map_err(|e| UpError::process("start the launcher", e))?;
    ours.send(options).map_err(|e| UpError::process("start the launcher", e))?;
    loop {
        match ours.recv::<FromSandbox>() {
            Ok(Some((FromSandbox::Step(text), _))) => progress.step(&text),
            Ok(Some((FromSandbox::Ready { api }, _))) => {
                progress.ready(&api);
                return Ok(());
            }
            Ok(Some((FromSandbox::Failed(reason), _))) => {
                let _ = child.wait();
                return Err(UpError::Refused(reason));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let _ = child.wait();
                return Err(UpError::Start {
                    reason: "the launcher ended".into(),
                    log: home.log().display().to_string(),
                });
            }
        }
    }
}

/// Reports to the process that started a detached launcher, as long as it listens.
struct Remote {
    channel: Channel,
    gone: bool,
}

impl Progress for Remote {
    fn step(&mut self, text: &str) {
        self.gone |= self.channel.send(&FromSandbox::Step(text.to_owned())).is_err();
    }
    fn ready(&mut self, api: &str) {
        let _ = self.channel.send(&FromSandbox::Ready { api: api.to_owned() });
    }
}

/// The detached launcher: the same as `up` in the foreground, reporting to its starter.
pub(crate) fn detached_main() -> ExitCode {
    let _ = nix::unistd::setsid();
    let Ok(channel) = Channel::from_stdin() else { return exit(2) };
    let Ok(Some((options, _))) = channel.recv::<UpOptions>() else { return exit(2) };
    let mut remote = Remote { channel, gone: false };
    match run(&options, &mut remote) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = remote.channel.send(&FromSandbox::Failed(error.to_string()));
            exit(1)
        }
    }
}

fn open_log(home: &Home) -> Result<File, UpError> {
    let path = home.log();
    let parent = path.parent().unwrap_or(home.root());
    std::fs::create_dir_all(parent).map_err(|e| UpError::state(parent, e))?;
    File::options().create(true).append(true).open(&path).map_err(|e| UpError::state(&path, e))
}

fn listen(port: u16) -> Result<TcpListener, UpError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            UpError::PortTaken { port }
        } else {
            UpError::Listen { port, error }
        }
    })
}

/// Runs a cluster until it ends or this process is told to end it.
fn run(options: &UpOptions, progress: &mut dyn Progress) -> Result<(), UpError> {
    let home = Home::new(&options.home);
    let Some(lock) = Lock::take(&home)? else {
        // Another one was quicker.
        return if join(&home, progress)? { Ok(()) } else { run(options, progress) };
    };
    let private = home.private();
    std::fs::create_dir_all(&private).map_err(|e| UpError::state(&private, e))?;
    let listener = listen(options.port)?;
    let api = listener.local_addr().map_err(|e| UpError::process("listen", e))?;
    let me = Running {
        pid: std::process::id().cast_signed(),
        api: api.to_string(),
        ready: false,
        started: jiff::Timestamp::now(),
    };
    lock.publish(&me)?;
    let stop = stop_signals()?;
    let mut sandbox = Sandbox::start(&home, options, api)?;
    drop(sandbox.stop_on(stop)?);
    sandbox.hand_over(&listener)?;
    drop(listener);
    let ended = sandbox.follow(&lock, me, options, progress);
    sandbox.end();
    ended
}

/// Blocks the signals that end a cluster, to be waited for instead. The sandbox unblocks them.
fn stop_signals() -> Result<SigSet, UpError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().map_err(|e| UpError::process("block signals", e))?;
    Ok(set)
}

/// The sandbox as its launcher sees it.
struct Sandbox {
    child: Child,
    channel: Channel,
    settings: Settings,
    log: String,
}

impl Sandbox {
    /// Starts the first stage, gives it its ids, and lets it build the rest.
    fn start(home: &Home, options: &UpOptions, api: SocketAddr) -> Result<Sandbox, UpError> {
        let ids = IdMap::detect();
        let settings = Settings {
            // By its true name: what hides the state in containers goes by the path.
            home: home.root().canonicalize().map_err(|e| UpError::state(home.root(), e))?,
            api,
            many_ids: ids.many(),
            bare: options.bare,
            egress_gateway: options.egress_gateway,
            // Services that have addresses of both families would be left without one.
            dual_stack: options.dual_stack || home.dual_stack().exists(),
        };
        let (channel, theirs) = Channel::pair().map_err(|e| UpError::process("make a channel", e))?;
        let log = open_log(home)?;
        let child = Stage::SandboxEnter
            .command_from(&program::keep(home))
            .stdin(Stdio::from(theirs.into_fd()))
            .stdout(log.try_clone().map_err(|e| UpError::state(&home.log(), e))?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(|e| UpError::process("start the sandbox", e))?;
        let log = home.log().display().to_string();
        let mut sandbox = Sandbox { child, channel, settings, log };
        sandbox.build(&ids).inspect_err(|_| sandbox.kill())?;
        Ok(sandbox)
    }

    fn build(&mut self, ids: &IdMap) -> Result<(), UpError> {
        loop {
            match self.receive()? {
                FromSandbox::UserNamespace => {
                    ids.apply(self.child.id())
                        .map_err(|e| UpError::Refused(Machine::read().explain(&format!("map user ids ({e})"))))?;
                    self.send(&ToSandbox::Mapped { groups: ids.many() })?;
                }
                FromSandbox::Built => return self.send(&ToSandbox::Settings(self.settings.clone())),
                FromSandbox::Refused(what) => {
                    return Err(UpError::Refused(Machine::read().explain(&what)));
                }
                FromSandbox::Failed(reason) => return Err(self.failed(reason)),
                FromSandbox::Step(_) | FromSandbox::Ready { .. } | FromSandbox::Socket { .. } => {}
            }
        }
    }

    /// Gives the listener of the API server to the cluster inside.
    fn hand_over(&self, listener: &TcpListener) -> Result<(), UpError> {
        self.channel
            .send_with(&ToSandbox::Start(self.settings.clone()), &[listener.as_fd()])
            .map_err(|e| UpError::process("talk to the sandbox", e))
    }

    /// Passes the end signals on as a request to stop.
    fn stop_on(&self, signals: SigSet) -> Result<std::thread::JoinHandle<()>, UpError> {
        let clone = self.channel.try_clone().map_err(|e| UpError::process("talk to the sandbox", e))?;
        let pid = Pid::from_raw(self.child.id().cast_signed());
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let _ = signals.wait();
                let _ = clone.send(&ToSandbox::Stop);
                std::thread::sleep(STOP_TIME);
                let _ = kill(pid, Signal::SIGKILL);
            })
            .map_err(|e| UpError::process("start a thread", e))
    }

    /// Passes on progress until the sandbox ends.
    fn follow(
        &mut self,
        lock: &Lock,
        mut me: Running,
        options: &UpOptions,
        progress: &mut dyn Progress,
    ) -> Result<(), UpError> {
        loop {
            match self.receive_or_end()? {
                Some(FromSandbox::Step(text)) => progress.step(&text),
                Some(FromSandbox::Ready { api }) => {
                    me.ready = true;
                    lock.publish(&me)?;
                    if self.settings.dual_stack {
                        let mark = Home::new(&options.home).dual_stack();
                        std::fs::write(&mark, "").map_err(|e| UpError::state(&mark, e))?;
                    }
                    if let Some(path) = &options.merge_kubeconfig {
                        kubeconfig::merge(&Home::new(&options.home).kubeconfig(), path)?;
                    }
                    progress.ready(&api);
                }
                Some(FromSandbox::Refused(what)) => {
                    return Err(UpError::Refused(Machine::read().explain(&what)));
                }
                Some(FromSandbox::Failed(reason)) => return Err(self.failed(reason)),
                Some(FromSandbox::Socket { id, wanted }) => self.send_socket(id, wanted)?,
                Some(FromSandbox::UserNamespace | FromSandbox::Built) => {}
                None => return self.ended(),
            }
        }
    }

    /// Makes a socket in the host's network and hands it over.
    fn send_socket(&self, id: u64, wanted: Wanted) -> Result<(), UpError> {
        let made = sockets::make(wanted);
        let sent = match &made {
            Ok(socket) => self.channel.send_with(&ToSandbox::Socket { id, error: None }, &[socket.as_fd()]),
            Err(error) => {
                let code = error.raw_os_error().unwrap_or(Errno::EIO as i32);
                self.channel.send(&ToSandbox::Socket { id, error: Some(code) })
            }
        };
        match sent {
            // The sandbox ends; what it still says comes first.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            other => other.map_err(|e| UpError::process("talk to the sandbox", e)),
        }
    }

    fn receive(&mut self) -> Result<FromSandbox, UpError> {
        match self.receive_or_end()? {
            Some(message) => Ok(message),
            None => Err(self.failed("its first process ended".into())),
        }
    }

    fn receive_or_end(&self) -> Result<Option<FromSandbox>, UpError> {
        let received = self.channel.recv().map_err(|e| UpError::process("talk to the sandbox", e))?;
        Ok(received.map(|(message, _)| message))
    }

    fn send(&self, message: &ToSandbox) -> Result<(), UpError> {
        self.channel.send(message).map_err(|e| UpError::process("talk to the sandbox", e))
    }

    fn failed(&self, reason: String) -> UpError {
        UpError::Start { reason, log: self.log.clone() }
    }

    fn ended(&mut self) -> Result<(), UpError> {
        let status: ExitStatus = self.child.wait().map_err(|e| UpError::process("wait for the sandbox", e))?;
        if status.success() { Ok(()) } else { Err(self.failed(format!("it ended with {status}"))) }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets the sandbox end by itself, then makes sure that it has.
    fn end(&mut self) {
        let until = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}
