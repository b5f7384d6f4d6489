//! Lines wait in memory until a thread of their own has written them; a file that cannot keep up loses lines, never
//! holds up requests.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Bytes that may wait for one file.
const MAX_WAITING: usize = 4 << 20;
/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_millis(100);

/// One file.
pub(super) struct Sink {
    path: Arc<str>,
    waiting: Mutex<Vec<u8>>,
    shared: Arc<Shared>,
}

struct Shared {
    sinks: Mutex<HashMap<Arc<str>, Arc<Sink>>>,
    work: Mutex<Work>,
    wake: Condvar,
    done: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Work {
    /// Something waits to be written.
    pending: bool,
    /// Somebody waits until it is.
    hurry: bool,
    /// The thread is writing now.
    writing: bool,
    /// The thread is to end.
    end: bool,
}

/// All files.
pub(super) struct Sinks(Arc<Shared>);

impl Sinks {
    pub(super) fn start() -> Sinks {
        let shared = Arc::new(Shared {
            sinks: Mutex::default(),
            work: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = shared.clone();
        let thread = thread::Builder::new().name("access-log".to_owned()).stack_size(128 << 10);
        if let Err(error) = thread.spawn(move || write_for_ever(&writer)) {
            tracing::error!(%error, "no thread for the access log: nothing will be logged");
        }
        Sinks(shared)
    }

    pub(super) fn open(&self, path: &Arc<str>) -> Arc<Sink> {
        let mut sinks = self.0.sinks.lock();
        let make = || Arc::new(Sink { path: path.clone(), waiting: Mutex::default(), shared: self.0.clone() });
        sinks.entry(path.clone()).or_insert_with(make).clone()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Waits (not for ever) until everything is written.
    pub(super) fn flush(&self) {
        let mut work = self.0.work.lock();
        work.hurry = true;
        self.0.wake.notify_one();
        let end = std::time::Instant::now() + Duration::from_secs(2);
        while work.pending || work.writing {
            if self.0.done.wait_until(&mut work, end).timed_out() {
                return;
            }
        }
        work.hurry = false;
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.0.work.lock().end = true;
        self.0.wake.notify_one();
        // Breaks the circle of sinks and what they share.
        self.0.sinks.lock().clear();
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
        if first {
            self.shared.work.lock().pending = true;
            self.shared.wake.notify_one();
        }
    }
}

fn write_for_ever(shared: &Shared) {
    let mut files: HashMap<Arc<str>, Target> = HashMap::new();
    loop {
        let mut work = shared.work.lock();
        while !work.pending && !work.end {
            shared.wake.wait(&mut work);
        }
        if work.end && !work.pending {
            return;
        }
        if !work.hurry && !work.end {
            shared.wake.wait_for(&mut work, COLLECT);
        }
        work.pending = false;
        work.writing = true;
        drop(work);
        let sinks: Vec<_> = shared.sinks.lock().values().cloned().collect();
        for sink in sinks {
            let bytes = std::mem::take(&mut *sink.waiting.lock());
            if !bytes.is_empty() {
                write(&mut files, &sink, &bytes);
            }
        }
        shared.work.lock().writing = false;
        shared.done.notify_all();
    }
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
