//! Reading container logs as `kubectl logs` wants them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::log::{Position, rotated};

/// Output is handed on in pieces of about this size.
const PIECE: usize = 16 << 10;

/// Which part of a log, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) tail: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) timestamps: bool,
    pub(crate) limit: Option<u64>,
}

/// Sends the selected part of a log, then what is added to it if `follow` is given.
pub(crate) fn read(
    path: PathBuf,
    selection: Selection,
    follow: Option<watch::Receiver<Position>>,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(e) = send_all(&path, selection, follow, &sender).await {
            let _ = sender.send(Err(e)).await;
        }
    });
    receiver
}

type Sender = mpsc::Sender<io::Result<Bytes>>;

async fn send_all(
    path: &Path,
    selection: Selection,
    follow: Option<watch::Receiver<Position>>,
    sender: &Sender,
) -> io::Result<()> {
    let mut left = selection.limit.unwrap_or(u64::MAX);
    let mut from = follow.as_ref().map(|follow| *follow.borrow()).unwrap_or_default();
    let (older, newer) = (rotated(path), path.to_owned());
    let select = selection.clone();
    let first = blocking(move || existing(&older, &newer, &select)).await?;
    from.length = first.read;
    if !send(first.text, &mut left, sender).await {
        return Ok(());
    }
    let Some(mut follow) = follow else { return Ok(()) };
    loop {
        let now = *follow.borrow_and_update();
        if now != from {
            let start = if now.file == from.file { from.length } else { 0 };
            let (path, selection) = (path.to_owned(), selection.clone());
            let added = blocking(move || part(&path, start, &selection)).await?;
            from = Position { file: now.file, length: added.read };
            if !send(added.text, &mut left, sender).await {
                return Ok(());
            }
        }
        tokio::select! {
            changed = follow.changed() => if changed.is_err() { return Ok(()) },
            () = sender.closed() => return Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
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

/// Text for the reader, and how far into the file it goes.
struct Part {
    text: Vec<u8>,
    read: u64,
}

/// What the files of a log hold now.
fn existing(older: &Path, newer: &Path, selection: &Selection) -> io::Result<Part> {
    let mut lines = Lines::new(selection);
    if let Ok(file) = File::open(older) {
        lines.take(file)?;
    }
    lines.read = 0;
    lines.take(File::open(newer)?)?;
    Ok(lines.into_part())
}

/// What was added to a file after `start`; the tail is no matter any more.
fn part(path: &Path, start: u64, selection: &Selection) -> io::Result<Part> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let selection = Selection { tail: None, ..selection.clone() };
    let mut lines = Lines::new(&selection);
    lines.take(file)?;
    lines.read += start;
    Ok(lines.into_part())
}

struct Lines<'a> {
    selection: &'a Selection,
    /// Complete lines, only the last ones where the tail is wanted.
    kept: VecDeque<Vec<u8>>,
    /// Whether the last kept line goes on.
    open: bool,
    read: u64,
}

impl<'a> Lines<'a> {
    fn new(selection: &'a Selection) -> Self {
        Lines { selection, kept: VecDeque::new(), open: false, read: 0 }
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
        let (Some(stamp), Some(_), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        if self.too_old(stamp) {
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

    fn into_part(self) -> Part {
        Part { text: self.kept.into_iter().flatten().collect(), read: self.read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1970-01-01T00:00:01Z stdout F one\n1970-01-01T00:00:02Z stdout P tw\n\
        1970-01-01T00:00:02Z stdout F o\n1970-01-01T00:00:03Z stderr F three\nhalf";

    fn read_log(selection: &Selection) -> String {
        let mut lines = Lines::new(selection);
        lines.take(LOG.as_bytes()).unwrap();
        assert_eq!(lines.read as usize, LOG.len() - "half".len());
        String::from_utf8(lines.into_part().text).unwrap()
    }

    #[test]
    fn lines_are_selected_and_joined() {
        let since = Timestamp::from_second(2).ok();
        for (selection, expect) in [
            (Selection::default(), "one\ntwo\nthree\n"),
            (Selection { tail: Some(2), ..Selection::default() }, "two\nthree\n"),
            (Selection { tail: Some(0), ..Selection::default() }, ""),
            (Selection { since, ..Selection::default() }, "two\nthree\n"),
            (Selection { tail: Some(1), timestamps: true, ..Selection::default() }, "1970-01-01T00:00:03Z three\n"),
        ] {
            assert_eq!(read_log(&selection), expect, "{selection:?}");
        }
    }
}
