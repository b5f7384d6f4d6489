//! Lines wait in memory until a thread of their own has written them; a file that cannot keep up loses lines, never
//! holds up requests. Every worker has buffers of its own, so that workers never wait for each other.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes of one worker that may wait for one file.
const MAX_WAITING: usize = 4 << 20;
/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_millis(100);
/// How long a flush waits at most.
const MAX_FLUSH: Duration = Duration::from_secs(2);

/// What one worker has for one file.
pub(super) struct Sink {
    path: Arc<str>,
    /// Taken by its worker and, for the moment of a swap, by the writing thread.
    waiting: Mutex<Vec<u8>>,
    shared: Arc<Shared>,
}

/// The buffers of one worker, one for each file.
#[derive(Default)]
pub(in crate::telemetry) struct WorkerSinks(HashMap<Arc<str>, Arc<Sink>>);

struct Shared {
    /// Touched when a worker first logs to a file, and by the writing thread.
    sinks: Mutex<Vec<Arc<Sink>>>,
    writer: OnceLock<Thread>,
    /// Something waits to be written.
    pending: AtomicBool,
    /// Somebody waits until it is.
    hurry: AtomicBool,
    /// The thread is to end.
    end: AtomicBool,
    /// Rounds of writing that have ended.
    rounds: Mutex<u64>,
    done: Condvar,
    dropped: AtomicU64,
}

/// All files.
pub(super) struct Sinks(Arc<Shared>);

impl Sinks {
    pub(super) fn start() -> Sinks {
        let shared = Arc::new(Shared {
            sinks: Mutex::default(),
            writer: OnceLock::new(),
            pending: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            end: AtomicBool::new(false),
            rounds: Mutex::default(),
            done: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = shared.clone();
        let thread = thread::Builder::new().name("access-log".to_owned()).stack_size(128 << 10);
        match thread.spawn(move || write_for_ever(&writer)) {
            Ok(handle) => drop(shared.writer.set(handle.thread().clone())),
            Err(error) => tracing::error!(%error, "no thread for the access log: nothing will be logged"),
        }
        Sinks(shared)
    }

    /// The worker's buffer for a file.
    pub(super) fn open(&self, path: &Arc<str>, worker: &mut WorkerSinks) -> Arc<Sink> {
        let make = || {
            let sink = Arc::new(Sink { path: path.clone(), waiting: Mutex::default(), shared: self.0.clone() });
            self.0.sinks.lock().push(sink.clone());
            sink
        };
        worker.0.entry(path.clone()).or_insert_with(make).clone()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Waits (not for ever) until everything that was appended before is written.
    pub(super) fn flush(&self) {
        let mut rounds = self.0.rounds.lock();
        // The round that runs now may have passed a buffer already; the one after it sees everything.
        let wanted = *rounds + 2;
        let end = Instant::now() + MAX_FLUSH;
        while *rounds < wanted {
            self.0.hurry.store(true, Release);
            self.0.wake();
            if self.0.done.wait_until(&mut rounds, end).timed_out() {
                return;
            }
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.0.end.store(true, Release);
        self.0.wake();
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Waits for work; false when there will be none.
    fn wait(&self) -> bool {
        loop {
            if self.end.load(Acquire) {
                return self.pending.swap(false, AcqRel);
            }
            if self.hurry.swap(false, AcqRel) || self.pending.swap(false, AcqRel) {
                return true;
            }
            thread::park();
        }
    }
}

impl Sink {
    /// Appends a line.
    pub(super) fn append(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = waiting.is_empty();
        line(&mut waiting);
        drop(waiting);
        if first && !self.shared.pending.swap(true, AcqRel) {
            self.shared.wake();
        }
    }
}

fn write_for_ever(shared: &Shared) {
    let mut files: HashMap<Arc<str>, Target> = HashMap::new();
    while shared.wait() {
        if !shared.hurry.load(Acquire) && !shared.end.load(Acquire) {
            thread::park_timeout(COLLECT);
        }
        let sinks = shared.sinks.lock().clone();
        for sink in &sinks {
            let bytes = std::mem::take(&mut *sink.waiting.lock());
            if !bytes.is_empty() {
                write(&mut files, sink, &bytes);
            }
        }
        drop(sinks);
        // Its worker is gone, and so is what it had to say.
        shared.sinks.lock().retain(|sink| Arc::strong_count(sink) > 1 || !sink.waiting.lock().is_empty());
        *shared.rounds.lock() += 1;
        shared.done.notify_all();
    }
    // Breaks the circle of sinks and what they share.
    shared.sinks.lock().clear();
}

enum Target {
    Stdout,
    Stderr,
    File(File),
}

fn write(files: &mut HashMap<Arc<str>, Target>, sink: &Sink, bytes: &[u8]) {
    let result = target(files, &sink.path).and_then(|target| match target {
        Target::Stdout => io::stdout().lock().write_all(bytes).and_then(|()| io::stdout().flush()),
        Target::Stderr => io::stderr().lock().write_all(bytes),
        Target::File(file) => (&*file).write_all(bytes),
    });
    if let Err(error) = result {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        sink.shared.dropped.fetch_add(lines, Relaxed);
        files.remove(&sink.path);
        tracing::warn!(%error, path = %sink.path, lines, "cannot write the access log");
    }
}

fn target<'a>(files: &'a mut HashMap<Arc<str>, Target>, path: &Arc<str>) -> io::Result<&'a Target> {
    if !files.contains_key(path) {
        let target = match &**path {
            "/dev/stdout" => Target::Stdout,
            "/dev/stderr" => Target::Stderr,
            path => Target::File(OpenOptions::new().create(true).append(true).open(path)?),
        };
        files.insert(path.clone(), target);
    }
    files.get(path).ok_or_else(|| io::Error::other("no such log"))
}
