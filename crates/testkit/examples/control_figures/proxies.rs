//! Simulated proxies, in a process of their own beside istiod: the network they share with it is the pod's.
//!
//! The process is told by lines on its standard input what to wait for, and answers each with one line: first when it is
//! ready, then the milliseconds after which each proxy had what it waited for.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lateen_api::discovery::Node;
use lateen_api::type_url;
use lateen_xds::HTTP2_WINDOW_BYTES;
use lateen_xds::client::{self, BoxError, Connect, Connected, Subscriptions, Update};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use crate::mesh::namespace;

/// The argument that makes this program the simulated proxies.
pub const ROLE: &str = "proxies";

/// istiod's port without TLS, seen from its own pod.
const ISTIOD: &str = "http://127.0.0.1:15010";
/// All HTTP Services have this port, and so is the name of their routes.
const ROUTES: &str = "80";
/// After the last expected proxy: time for any that shouldn't have been told.
const QUIET: Duration = Duration::from_millis(500);

/// How long each proxy waited, in milliseconds.
#[derive(Default)]
pub struct Wait(Vec<f64>);

impl Wait {
    /// Adds what another round took.
    pub fn add(&mut self, other: Wait) {
        self.0.extend(other.0);
    }

    /// Median, 99th percentile, longest.
    pub fn quantiles(&self) -> [f64; 3] {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get((sorted.len().saturating_sub(1) as f64 * share) as usize).copied();
        [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or_default())
    }

    /// How many proxies were reached in each of so many rounds.
    pub fn reached(&self, rounds: usize) -> usize {
        self.0.len() / rounds
    }
}

/// The process of the simulated proxies; ends when dropped.
pub struct Proxies {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Proxies {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxies {
    /// Starts the process in the network of istiod's pod.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(istiod: u32) -> anyhow::Result<Self> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &istiod.to_string(), "--user", "--net", "--preserve-credentials", "--"]);
        command.arg(std::env::current_exe()?).arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("nsenter (Debian's util-linux)")?;
        let input = child.stdin.take().context("stdin")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?);
        Ok(Self { child, input, output })
    }

    /// Connects so many proxies and waits until each has all that it wants.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub fn connect(&mut self, count: usize, limit: Duration) -> anyhow::Result<Wait> {
        self.tell("connect", count, limit)?;
        self.answer()
    }

    /// Makes a change and waits until it reached `concerned` proxies, or more.
    ///
    /// # Errors
    /// When the change fails, or that takes longer than `limit`.
    pub fn change(
        &mut self,
        concerned: usize,
        limit: Duration,
        change: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Wait> {
        self.tell("change", concerned, limit)?;
        change()?;
        self.answer()
    }

    fn tell(&mut self, what: &str, count: usize, limit: Duration) -> anyhow::Result<()> {
        writeln!(self.input, "{what} {count} {}", limit.as_secs())?;
        let line = self.line()?;
        ensure!(line == "ready", "the simulated proxies said {line:?}");
        Ok(())
    }

    fn answer(&mut self) -> anyhow::Result<Wait> {
        let line = self.line()?;
        let times: Result<_, _> = line.split_whitespace().map(str::parse).collect();
        times.map(Wait).with_context(|| format!("the simulated proxies said {line:?}"))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the simulated proxies ended");
        Ok(line.trim().to_owned())
    }
}

/// What a proxy says: its number, and whether it has all that it wants now.
struct Said {
    proxy: usize,
    complete: bool,
}

/// Is the simulated proxies, until standard input ends.
///
/// # Errors
/// When a wait takes too long, or a line isn't understood.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        let &[what, count, limit] = words.as_slice() else { anyhow::bail!("{line:?}") };
        let (count, limit) = (count.parse()?, Duration::from_secs(limit.parse()?));
        while receiver.try_recv().is_ok() {}
        let start = Instant::now();
        if what == "connect" {
            for number in 0..count {
                runtime.spawn(follow(number, sender.clone()));
            }
        }
        println!("ready");
        let times = runtime.block_on(gather(&mut receiver, start, count, limit))?;
        let times: Vec<_> = times.iter().map(|time| format!("{:.3}", time.as_secs_f64() * 1e3)).collect();
        println!("{}", times.join(" "));
    }
    Ok(())
}

/// When each proxy first was complete, until `count` of them were and no other follows.
async fn gather(
    said: &mut mpsc::UnboundedReceiver<Said>,
    start: Instant,
    count: usize,
    limit: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let (mut times, mut seen) = (Vec::new(), BTreeSet::new());
    loop {
        let patience = if times.len() < count { limit.saturating_sub(start.elapsed()) } else { QUIET };
        match tokio::time::timeout(patience, said.recv()).await {
            Ok(Some(Said { proxy, complete })) if complete && seen.insert(proxy) => times.push(start.elapsed()),
            Ok(_) => {}
            Err(_) if times.len() >= count => return Ok(times),
            Err(_) => anyhow::bail!("only {} of {count} proxies have it after {limit:?}", times.len()),
        }
    }
}

/// A connection without TLS.
struct Plain;

impl Connect for Plain {
    type Service = Channel;
    async fn connect(&mut self) -> Result<Connected<Channel>, BoxError> {
        let endpoint = Endpoint::from_static(ISTIOD)
            .initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_WINDOW_BYTES);
        let service = endpoint.connect().await?;
        Ok(Connected { service, metadata: tonic::metadata::MetadataMap::new(), origin: ISTIOD.parse()? })
    }
}

/// One proxy: wants all clusters and listeners, the endpoints of each cluster, and the routes.
async fn follow(number: usize, said: mpsc::UnboundedSender<Said>) {
    let home = namespace(number);
    let id = format!("sidecar~10.100.{}.{}~proxy-{number}.{home}~{home}.svc.cluster.local", number / 256, number % 256);
    let subscriptions = Subscriptions::default();
    subscriptions.add_all(type_url::CLUSTER);
    subscriptions.add_all(type_url::LISTENER);
    subscriptions.add(type_url::ROUTE, ROUTES);
    let wanted = subscriptions.clone();
    let mut awaited: BTreeSet<(String, String)> = BTreeSet::from([
        (type_url::ROUTE.to_owned(), ROUTES.to_owned()),
        (type_url::LISTENER.to_owned(), String::new()),
    ]);
    awaited.insert((type_url::CLUSTER.to_owned(), String::new()));
    let handler = move |update: Update| {
        awaited.remove(&(update.type_url.clone(), String::new()));
        for (name, _, _) in update.upserts {
            if update.type_url == type_url::CLUSTER && name.starts_with("outbound|") {
                wanted.add(type_url::ENDPOINT, &name);
                awaited.insert((type_url::ENDPOINT.to_owned(), name));
            } else {
                awaited.remove(&(update.type_url.clone(), name));
            }
        }
        for name in update.removed {
            awaited.remove(&(update.type_url.clone(), name));
        }
        // Fails only when this program ends.
        let _ = said.send(Said { proxy: number, complete: awaited.is_empty() });
        Vec::new()
    };
    let pause = |_| Duration::from_millis(100);
    client::run(Plain, Node { id, ..Node::default() }, subscriptions, handler, pause, ()).await;
}
