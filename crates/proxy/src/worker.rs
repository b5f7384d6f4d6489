//! Workers: one thread and one runtime each, with listeners, connections and counters of its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::LocalOptions;
use tokio::sync::Notify;

use crate::certs::CertStore;
use crate::listener::Listeners;
use crate::peer::{OwnMetadata, PeerCache};
use crate::pool::Pools;
use crate::record::Sink;
use crate::state::{State, View};
use crate::tls::{Tickets, TlsCache};

/// Where a connection was meant to go, by the client's and the own address; for tests without capture.
pub type OriginalDst = Arc<dyn Fn(SocketAddr, SocketAddr) -> Option<SocketAddr> + Send + Sync>;

/// How workers are run.
#[derive(Clone, Default)]
pub struct WorkerOptions {
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Mark of the proxy's own sockets, where capture rules know it by that.
    pub mark: Option<u32>,
    /// What peers are told.
    pub metadata: OwnMetadata,
    /// Ports that the workload's containers declare.
    pub container_ports: Arc<[u16]>,
    /// The workload's addresses.
    pub addresses: Vec<IpAddr>,
    /// In place of the kernel's answer.
    pub original_dst: Option<OriginalDst>,
}

/// What the threads share: switches and counts.
#[derive(Default)]
pub struct Shared {
    draining: AtomicBool,
    stopping: AtomicBool,
    changed: Notify,
    connections: AtomicUsize,
}

/// One worker.
pub struct Worker {
    /// Its number.
    pub id: usize,
    /// Its view of the configuration.
    pub view: View,
    /// Its TLS configurations.
    pub tls: TlsCache,
    /// Its connections to endpoints.
    pub pools: Pools,
    /// Its records go here.
    pub sink: Arc<dyn Sink>,
    /// How it is run.
    pub options: Arc<WorkerOptions>,
    /// Peers that told who they are.
    pub peers: RefCell<PeerCache>,
    /// Counted by its references: copies of requests under way.
    pub copies: Rc<()>,
    shared: Arc<Shared>,
    random: RefCell<fastrand::Rng>,
    began: Instant,
    date: Cell<(u64, [u8; 29])>,
}

/// A connection that counts as open.
pub struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// A random number.
    pub fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Milliseconds of a steady clock that all workers share.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Whether open connections are to end soon.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Waits until connections are to end soon.
    pub async fn drained(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.is_draining() {
                return;
            }
            changed.await;
        }
    }

    /// Counts a connection until what is returned is dropped.
    pub fn opened(&self) -> Open {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        Open(self.shared.clone())
    }

    /// Whether `address` is a listener of this proxy, which must not be connected to on behalf of a client.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let local = address.ip().is_loopback() || self.options.addresses.contains(&address.ip());
        local
            && self.view.tables().bound_listeners().any(|listener| {
                listener.address.port() == address.port()
                    && (listener.address.ip().is_unspecified() || listener.address.ip() == address.ip())
            })
    }

    /// The time as a `date` header.
    pub fn date(&self) -> [u8; 29] {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (made, text) = self.date.get();
        if made == now {
            return text;
        }
        let zoned = jiff::Timestamp::from_second(now as i64).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
        let formatted = zoned.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let text = formatted.as_bytes().try_into().unwrap_or([b' '; 29]);
        self.date.set((now, text));
        text
    }
}

/// The running workers.
pub struct Handle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the workers. They open the listeners that `state` tells of, now and later.
pub fn start(
    state: Arc<State>,
    certs: Arc<CertStore>,
    sink: Arc<dyn Sink>,
    options: WorkerOptions,
) -> io::Result<Handle> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if options.threads == 0 { cores } else { options.threads };
    let shared = Arc::new(Shared::default());
    let options = Arc::new(options);
    let tickets = Arc::new(Tickets::default());
    let began = Instant::now();
    let mut threads = Vec::with_capacity(count);
    for id in 0..count {
        let seed = Seed {
            id,
            state: state.clone(),
            certs: certs.clone(),
            tickets: tickets.clone(),
            sink: sink.clone(),
            options: options.clone(),
            shared: shared.clone(),
            began,
        };
        threads.push(std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || seed.run())?);
    }
    Ok(Handle { shared, threads })
}

/// What a worker grows from, on its own thread.
struct Seed {
    id: usize,
    state: Arc<State>,
    certs: Arc<CertStore>,
    tickets: Arc<Tickets>,
    sink: Arc<dyn Sink>,
    options: Arc<WorkerOptions>,
    shared: Arc<Shared>,
    began: Instant,
}

impl Seed {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.work()),
            Err(error) => tracing::error!(%error, "a worker can't start"),
        }
    }

    async fn work(self) {
        let worker = Rc::new(Worker {
            id: self.id,
            view: View::new(self.state.clone()),
            tls: TlsCache::new(self.certs, self.tickets),
            pools: Pools::default(),
            sink: self.sink,
            options: self.options,
            peers: RefCell::default(),
            copies: Rc::default(),
            shared: self.shared.clone(),
            random: RefCell::new(fastrand::Rng::new()),
            began: self.began,
            date: Cell::new((0, [b' '; 29])),
        });
        let sweeping = worker.clone();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                sweeping.pools.sweep(&sweeping.view.tables());
            }
        });
        let mut listeners = Listeners::default();
        let mut seen = 0;
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let changed = self.shared.changed.notified();
            listeners.follow(&worker);
            let retry = if listeners.complete() { Duration::from_secs(3600) } else { Duration::from_millis(200) };
            tokio::select! {
                now = self.state.newer_than(seen) => seen = now,
                () = changed => {}
                () = tokio::time::sleep(retry) => {}
            }
        }
        listeners.close();
        worker.pools.clear();
    }
}

impl Handle {
    /// Lets open connections end: each gets to finish what it does, then is closed.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
    }

    /// Connections from clients that are open.
    pub fn active_connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Ends the workers, whatever they do.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}
