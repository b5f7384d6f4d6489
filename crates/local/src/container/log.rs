//! The log of one run of a container, in the format of Kubernetes' container runtimes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};

/// A log larger than this starts anew, keeping one old file.
const MAX_SIZE: u64 = 10 << 20;
/// Longer lines are written in parts.
const MAX_LINE: usize = 16 << 10;
/// Pieces of output that a slow attached client may lag behind.
const LIVE: usize = 256;

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// How far a log has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// How often the log started anew.
    pub(crate) file: u64,
    pub(crate) length: u64,
}

/// The log of a container that runs or ran.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Mutex<(File, Position)>,
    written: watch::Sender<Position>,
    live: broadcast::Sender<(Source, Bytes)>,
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
            live: broadcast::Sender::new(LIVE),
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells when more has been written; ends with the log.
    pub(crate) fn follow(&self) -> watch::Receiver<Position> {
        self.written.subscribe()
    }

    /// The output from now on, as the process writes it.
    pub(crate) fn live(&self) -> broadcast::Receiver<(Source, Bytes)> {
        self.live.subscribe()
    }

    /// Writes what comes out of one output of the container until it is closed.
    pub(crate) async fn copy(self: Arc<Self>, source: Source, output: OwnedFd) {
        match pipe::Receiver::from_owned_fd(output) {
            Ok(reader) => self.copy_from(source, reader).await,
            Err(error) => tracing::warn!(%error, "cannot read a container's output"),
        }
    }

    async fn copy_from(&self, source: Source, reader: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(MAX_LINE, reader);
        let mut lines = Vec::new();
        loop {
            let taken = match reader.fill_buf().await {
                Ok([]) | Err(_) => return,
                Ok(bytes) => {
                    let _ = self.live.send((source, Bytes::copy_from_slice(bytes)));
                    format_lines(jiff::Timestamp::now(), source, bytes, &mut lines)
                }
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
            *position = Position { file: position.file + 1, length: 0 };
        }
        file.write_all(lines)?;
        position.length += lines.len() as u64;
        let now = *position;
        drop(guard);
        self.written.send_replace(now);
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
    let stream = match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
    };
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
        assert_eq!(*log.follow().borrow(), Position { file: 1, length: 1 << 20 });
        assert_eq!(fs::metadata(rotated(log.path())).unwrap().len(), 10 << 20);
    }
}
