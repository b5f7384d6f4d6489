//! Reading container logs as `kubectl logs` and `kubectl attach` want them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::log::{Log, Position, Source, rotated};

/// Output is handed on in pieces of about this size.
const PIECE: usize = 16 << 10;

/// Where a log is.
#[derive(Debug, Clone)]
pub(crate) enum Written {
    /// In these files, complete.
    Over(PathBuf),
    /// Still being written.
    Going(Arc<Log>),
}

/// Which part of a log, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) tail: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) timestamps: bool,
    pub(crate) limit: Option<u64>,
    /// Only this output.
    pub(crate) source: Option<Source>,
}

type Sender = mpsc::Sender<io::Result<Bytes>>;
type Receiver = mpsc::Receiver<io::Result<Bytes>>;

/// Sends the selected part of what was written after `from`, then what is added to it if `follow` is given.
pub(crate) fn read(log: Written, from: Position, selection: Selection, follow: bool) -> Receiver {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(e) = send_all(log, from, selection, follow, &sender).await {
            let _ = sender.send(Err(e)).await;
        }
    });
    receiver
}

async fn send_all(
    log: Written,
    mut from: Position,
    mut selection: Selection,
    follow: bool,
    sender: &Sender,
) -> io::Result<()> {
    let mut left = selection.limit.unwrap_or(u64::MAX);
    let mut changes = match &log {
        Written::Going(log) if follow => Some(log.follow()),
        _ => None,
    };
    let mut middle = false;
    loop {
        if let Some(changes) = &mut changes {
            changes.borrow_and_update();
        }
        let (log, select) = (log.clone(), selection.clone());
        let part = tokio::task::spawn_blocking(move || part(&log, from, &select, middle));
        let part = part.await.map_err(io::Error::other)??;
        (from, middle) = (part.to, part.middle);
        if !send(part.text, &mut left, sender).await || from.ended {
            return Ok(());
        }
        // The tail is of what was there at first.
        selection.tail = None;
        let Some(changes) = &mut changes else { return Ok(()) };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = sender.closed() => return Ok(()),
        }
    }
}

async fn send(text: Vec<u8>, left: &mut u64, sender: &Sender) -> bool {
    let mut text = Bytes::from(text);
    text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= text.len() as u64;
    while !text.is_empty() {
        let piece = text.split_to(text.len().min(PIECE));
        if sender.send(Ok(piece)).await.is_err() {
            return false;
        }
    }
    *left > 0
}

/// Text for the reader, and how far into the log it goes.
struct Part {
    text: Vec<u8>,
    to: Position,
    /// Whether it ends in the middle of a line.
    middle: bool,
}

impl Written {
    /// The files that hold what was written after `from`, and how far they go.
    fn files(&self, from: Position) -> io::Result<(Vec<(File, u64)>, Position)> {
        match self {
            Written::Going(log) => log.after(from),
            Written::Over(path) => {
                let mut files: Vec<_> = File::open(rotated(path)).ok().map(|older| (older, 0)).into_iter().collect();
                files.push((File::open(path)?, 0));
                Ok((files, Position { ended: true, ..Position::default() }))
            }
        }
    }
}

/// What was written after `from`; `middle` says whether that is in the middle of a line.
fn part(log: &Written, from: Position, selection: &Selection, middle: bool) -> io::Result<Part> {
    let (files, mut to) = log.files(from)?;
    let mut lines = Lines::new(selection, middle);
    for (mut file, start) in files {
        file.seek(SeekFrom::Start(start))?;
        lines.read = start;
        lines.take(file)?;
    }
    // A log that has ended holds no half of a line; one that goes on may have grown since.
    to.length = lines.read;
    Ok(Part { to, middle: lines.open, text: lines.text() })
}

struct Lines<'a> {
    selection: &'a Selection,
    /// Lines, only the last ones where the tail is wanted.
    kept: VecDeque<Vec<u8>>,
    /// Whether the last line goes on.
    open: bool,
    read: u64,
}

impl<'a> Lines<'a> {
    fn new(selection: &'a Selection, middle: bool) -> Self {
        let kept = if middle { VecDeque::from([Vec::new()]) } else { VecDeque::new() };
        Lines { selection, kept, open: middle, read: 0 }
    }

    fn take(&mut self, file: impl Read) -> io::Result<()> {
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            // A line without its end is being written; it is read next time.
            if line.pop() != Some(b'\n') {
                return Ok(());
            }
            self.read += length as u64;
            self.add(&line);
        }
    }

    fn add(&mut self, line: &[u8]) {
        let mut fields = line.splitn(4, |b| *b == b' ');
        let (Some(stamp), Some(source), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        if self.selection.source.is_some_and(|wanted| wanted.name().as_bytes() != source) || self.too_old(stamp) {
            return;
        }
        if !self.open {
            let mut new = Vec::with_capacity(text.len() + 1);
            if self.selection.timestamps {
                new.extend_from_slice(stamp);
                new.push(b' ');
            }
            self.kept.push_back(new);
        }
        let complete = tag == b"F";
        if let Some(last) = self.kept.back_mut() {
            last.extend_from_slice(text);
            if complete {
                last.push(b'\n');
            }
        }
        self.open = !complete;
        if self.selection.tail.is_some_and(|tail| self.kept.len() as u64 > tail) {
            self.kept.pop_front();
        }
    }

    fn too_old(&self, stamp: &[u8]) -> bool {
        let time = || std::str::from_utf8(stamp).ok()?.parse::<Timestamp>().ok();
        self.selection.since.is_some_and(|since| time().is_some_and(|time| time < since))
    }

    fn text(self) -> Vec<u8> {
        self.kept.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1970-01-01T00:00:01Z stdout F one\n1970-01-01T00:00:02Z stdout P tw\n\
        1970-01-01T00:00:02Z stdout F o\n1970-01-01T00:00:03Z stderr F three\nhalf";

    fn read_log(selection: &Selection) -> String {
        let mut lines = Lines::new(selection, false);
        lines.take(LOG.as_bytes()).unwrap();
        assert_eq!(lines.read as usize, LOG.len() - "half".len());
        String::from_utf8(lines.text()).unwrap()
    }

    #[test]
    fn lines_are_selected_and_joined() {
        let since = Timestamp::from_second(2).ok();
        for (selection, expect) in [
            (Selection::default(), "one\ntwo\nthree\n"),
            (Selection { tail: Some(2), ..Selection::default() }, "two\nthree\n"),
            (Selection { tail: Some(0), ..Selection::default() }, ""),
            (Selection { since, ..Selection::default() }, "two\nthree\n"),
            (Selection { source: Some(Source::Stderr), ..Selection::default() }, "three\n"),
            (Selection { tail: Some(1), timestamps: true, ..Selection::default() }, "1970-01-01T00:00:03Z three\n"),
        ] {
            assert_eq!(read_log(&selection), expect, "{selection:?}");
        }
    }

    async fn all(mut pieces: Receiver) -> String {
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_follower_gets_everything_though_the_log_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path().join("0.log")).unwrap();
        let (mut writer, reader) = tokio::io::duplex(1 << 20);
        let recording = tokio::spawn(Arc::clone(&log).record(vec![(Source::Stdout, reader)]));
        let following = tokio::spawn(all(read(Written::Going(log), Position::default(), Selection::default(), true)));
        // More than one file takes, and less than two, of which both are kept: a slow reader finds all of it.
        let expect =
            tokio::task::spawn_blocking(|| (0..120_000).map(|n| format!("line {n:060}\n")).collect::<String>());
        let expect = expect.await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut writer, expect.as_bytes()).await.unwrap();
        drop(writer);
        recording.await.unwrap();
        let text = following.await.unwrap();
        assert!(text == expect, "{} bytes of {}", text.len(), expect.len());
    }

    #[tokio::test]
    async fn a_line_that_comes_in_parts_has_one_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path().join("0.log")).unwrap();
        let (mut writer, reader) = tokio::io::duplex(64);
        let recording = tokio::spawn(Arc::clone(&log).record(vec![(Source::Stdout, reader)]));
        let selection = Selection { timestamps: true, ..Selection::default() };
        let mut pieces = read(Written::Going(Arc::clone(&log)), Position::default(), selection, true);
        let mut text = Vec::new();
        for part in ["first ", "second", " third\n"] {
            tokio::io::AsyncWriteExt::write_all(&mut writer, part.as_bytes()).await.unwrap();
            text.extend_from_slice(&pieces.recv().await.unwrap().unwrap());
        }
        drop(writer);
        recording.await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("Z first second third\n") && text.matches('Z').count() == 1, "{text}");
    }
}
