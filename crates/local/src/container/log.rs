//! The log of one run of a container, in the format of Kubernetes' container runtimes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// A log larger than this starts anew, keeping one old file.
const MAX_SIZE: u64 = 10 << 20;
/// Longer lines are written in parts.
const MAX_LINE: usize = 16 << 10;

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        }
    }
}

/// How far a log has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// How often the log started anew.
    pub(crate) file: u64,
    pub(crate) length: u64,
    /// Nothing more will be written.
    pub(crate) ended: bool,
}

/// The log of a container that runs or ran.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Mutex<(File, Position)>,
    written: watch::Sender<Position>,
}

impl Log {
    /// Starts the log at `path`.
    pub(crate) fn create(path: PathBuf) -> io::Result<Arc<Log>> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(&path)?;
        Ok(Arc::new(Log {
            path,
            file: Mutex::new((file, Position::default())),
            written: watch::Sender::new(Position::default()),
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells when more has been written.
    pub(crate) fn follow(&self) -> watch::Receiver<Position> {
        self.written.subscribe()
    }

    /// How far it has been written now.
    pub(crate) fn position(&self) -> Position {
        self.file.lock().1
    }

    /// The files that hold what was written after `from`, each with where to begin in it, and how far they go.
    /// What lies in a file that is gone is left out.
    pub(crate) fn after(&self, from: Position) -> io::Result<(Vec<(File, u64)>, Position)> {
        let guard = self.file.lock();
        let now = guard.1;
        let mut files = Vec::new();
        if from.file < now.file {
            let start = if from.file + 1 == now.file { from.length } else { 0 };
            files.push((File::open(rotated(&self.path))?, start));
        }
        let start = if from.file == now.file { from.length } else { 0 };
        files.push((File::open(&self.path)?, start));
        Ok((files, now))
    }

    /// Writes all that comes out of the container until its outputs are closed.
    pub(crate) async fn record<R: AsyncRead + Unpin>(self: Arc<Self>, outputs: Vec<(Source, R)>) {
        futures::future::join_all(outputs.into_iter().map(|(source, reader)| self.copy(source, reader))).await;
        self.end();
    }

    /// Nothing more will be written.
    pub(crate) fn end(&self) {
        let mut guard = self.file.lock();
        guard.1.ended = true;
        self.written.send_replace(guard.1);
    }

    async fn copy(&self, source: Source, reader: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(MAX_LINE, reader);
        let mut lines = Vec::new();
        loop {
            let taken = match reader.fill_buf().await {
                Ok([]) | Err(_) => return,
                Ok(bytes) => format_lines(jiff::Timestamp::now(), source, bytes, &mut lines),
            };
            reader.consume(taken);
            if let Err(error) = self.write(&lines) {
                tracing::warn!(path = %self.path.display(), %error, "cannot write a container's log");
            }
            lines.clear();
        }
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        let mut guard = self.file.lock();
        let (file, position) = &mut *guard;
        if position.length > 0 && position.length + lines.len() as u64 > MAX_SIZE {
            fs::rename(&self.path, rotated(&self.path))?;
            *file = File::create(&self.path)?;
            *position = Position { file: position.file + 1, ..Position::default() };
        }
        file.write_all(lines)?;
        position.length += lines.len() as u64;
        self.written.send_replace(*position);
        Ok(())
    }
}

/// Where the older part of a log is.
pub(crate) fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Formats the lines of a piece of output, a last one without end as part of a line.
/// Answers how many bytes were used: all.
fn format_lines(now: jiff::Timestamp, source: Source, bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string();
    let stream = source.name();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let (tag, text) = line.strip_suffix(b"\n").map_or(('P', line), |text| ('F', text));
        // Writing to memory cannot fail.
        let _ = write!(out, "{stamp} {stream} {tag} ");
        out.extend_from_slice(text);
        out.push(b'\n');
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_time_stream_and_whether_they_are_complete() {
        let mut out = Vec::new();
        format_lines(jiff::Timestamp::UNIX_EPOCH, Source::Stderr, b"one\n\ntwo", &mut out);
        let at = "1970-01-01T00:00:00.000000000Z stderr";
        let expect = format!("{at} F one\n{at} F \n{at} P two\n");
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[tokio::test]
    async fn a_log_starts_anew_when_it_is_large_and_keeps_the_part_before() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path().join("0.log")).unwrap();
        let line = [b'x'; 1 << 20];
        for _ in 0..11 {
            log.write(&line).unwrap();
        }
        assert_eq!(log.position(), Position { file: 1, length: 1 << 20, ended: false });
        assert_eq!(fs::metadata(rotated(log.path())).unwrap().len(), 10 << 20);
    }

    #[tokio::test]
    async fn the_end_of_all_outputs_is_the_end_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path().join("0.log")).unwrap();
        Arc::clone(&log).record(vec![(Source::Stdout, &b"one\n"[..]), (Source::Stderr, &b"two\n"[..])]).await;
        assert!(log.follow().borrow().ended);
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.contains("stdout F one\n") && text.contains("stderr F two\n"), "{text}");
    }
}
