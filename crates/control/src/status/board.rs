//! The status that objects have, and the one that they should have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::patch;
use crate::source::Key;

/// Pause between two writes of one object that follow each other closely; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An object, as far as its status is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// Counts changes of its spec.
    pub generation: i64,
    /// The status that it has; null if it has none.
    pub status: &'a Value,
    /// RFC 3339 time.
    pub now: &'a str,
}

/// Makes the status that an object should have. What others wrote there is to be kept, and what is still true with its
/// times: the status is written when it is not equal to the one that the object has.
pub type Make = Arc<dyn Fn(Current<'_>) -> Value + Send + Sync>;

/// The status that objects have, and the one that they should have.
#[derive(Default)]
pub struct Statuses {
    board: Mutex<Board>,
    changed: Notify,
}

#[derive(Default)]
struct Board {
    objects: BTreeMap<Key, Entry>,
    /// Objects whose status may have to be written, by when.
    queue: BTreeSet<(Instant, Key)>,
}

#[derive(Default)]
struct Entry {
    seen: Option<Seen>,
    make: Option<Make>,
    written: Option<Written>,
    /// Where it is in the queue.
    due: Option<Instant>,
}

/// An object as a watch saw it.
struct Seen {
    version: String,
    generation: i64,
    status: Value,
}

/// When an object was last written, and how long it then rests.
#[derive(Clone, Copy)]
struct Written {
    at: Instant,
    pause: Duration,
}

/// A write to be done.
pub(super) struct Write {
    /// The object.
    pub(super) key: Key,
    /// Merge patch of the whole object, good only for the version that was seen.
    pub(super) patch: Value,
}

/// What there is to write now.
pub(super) enum Next {
    /// This.
    Write(Write),
    /// Nothing before this moment.
    At(Instant),
    /// Nothing.
    Nothing,
}

impl Statuses {
    /// Notes what a watch saw of an object; `None` when it is gone.
    pub fn observe(&self, key: &Key, object: Option<&Value>) {
        let mut board = self.board.lock();
        match object {
            Some(object) => {
                board.objects.entry(key.clone()).or_default().seen = Some(Seen::of(object));
                board.open(key);
                self.changed.notify_one();
            }
            None => board.close(key),
        }
    }

    /// Says how to make the status of an object; `None` leaves it alone from now on.
    pub fn want(&self, key: &Key, make: Option<Make>) {
        let mut board = self.board.lock();
        // One that is gone, or not seen yet, is asked about again when it is.
        if let Some(entry) = board.objects.get_mut(key) {
            entry.make = make;
            board.open(key);
            self.changed.notify_one();
        }
    }

    /// Is it known how to make the status of this object; true for one that is not there.
    pub fn cares_for(&self, key: &Key) -> bool {
        self.board.lock().objects.get(key).is_none_or(|entry| entry.make.is_some())
    }

    /// Leaves all objects alone from now on.
    pub fn forget(&self) {
        let mut board = self.board.lock();
        board.queue.clear();
        for entry in board.objects.values_mut() {
            entry.make = None;
            entry.due = None;
        }
    }

    /// Waits until there may be something to write.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next write at the moment `at`, which is `now` in RFC 3339.
    pub(super) fn next(&self, at: Instant, now: &str) -> Next {
        let mut board = self.board.lock();
        loop {
            match board.queue.first() {
                None => return Next::Nothing,
                Some((due, _)) if *due > at => return Next::At(*due),
                Some(_) => {}
            }
            let Some((_, key)) = board.queue.pop_first() else { return Next::Nothing };
            let Some(entry) = board.objects.get_mut(&key) else { continue };
            entry.due = None;
            if let Some(patch) = entry.patch(now) {
                entry.note_write(at);
                // Until a watch has seen the write it may have failed.
                board.open(&key);
                return Next::Write(Write { key, patch });
            }
        }
    }
}

impl Board {
    /// Puts an object into the queue, unless it is there or nobody cares for it.
    fn open(&mut self, key: &Key) {
        let Some(entry) = self.objects.get_mut(key) else { return };
        if entry.due.is_none() && entry.make.is_some() {
            let due = entry.written.map_or_else(Instant::now, |written| written.at + written.pause);
            entry.due = Some(due);
            self.queue.insert((due, key.clone()));
        }
    }

    fn close(&mut self, key: &Key) {
        if let Some(due) = self.objects.remove(key).and_then(|entry| entry.due) {
            self.queue.remove(&(due, key.clone()));
        }
    }
}

impl Entry {
    /// The patch for the object; `None` if its status is as it should be.
    fn patch(&self, now: &str) -> Option<Value> {
        let (seen, make) = (self.seen.as_ref()?, self.make.as_ref()?);
        let status = make(Current { generation: seen.generation, status: &seen.status, now });
        (status != seen.status).then(|| {
            let status = patch::difference(&seen.status, &status);
            json!({ "metadata": { "resourceVersion": seen.version }, "status": status })
        })
    }

    /// The pause grows while writes follow each other closely: others undo them, or they fail.
    fn note_write(&mut self, at: Instant) {
        let busy = self.written.filter(|before| at < before.at + 4 * before.pause);
        let pause = busy.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        self.written = Some(Written { at, pause });
    }
}

impl Seen {
    fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Seen {
            version: metadata["resourceVersion"].as_str().unwrap_or_default().to_owned(),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            status: object["status"].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::watched;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn key() -> Key {
        let kind = watched().find(|kind| kind.kind == "VirtualService").expect("a watched kind");
        Key { kind, namespace: "shop".into(), name: "web".into() }
    }

    fn object(version: &str, status: &Value) -> Value {
        json!({ "metadata": { "resourceVersion": version, "generation": 3 }, "status": status })
    }

    /// Wants `mine`, and keeps the rest.
    fn mine(value: &'static str) -> Option<Make> {
        Some(Arc::new(move |current| {
            let mut status = current.status.clone();
            status["mine"] = json!(value);
            status["generation"] = json!(current.generation);
            status
        }))
    }

    fn patch(statuses: &Statuses, at: Instant) -> Option<Value> {
        match statuses.next(at, NOW) {
            Next::Write(write) => Some(write.patch),
            _ => None,
        }
    }

    #[test]
    fn a_status_is_written_once_and_for_the_version_that_was_seen() {
        let (statuses, at) = (Statuses::default(), Instant::now() + FIRST_PAUSE);
        statuses.observe(&key(), Some(&object("7", &json!({ "others": 1 }))));
        assert_eq!(patch(&statuses, at), None, "nobody cares for it");
        statuses.want(&key(), mine("a"));
        let expected = json!({ "metadata": { "resourceVersion": "7" }, "status": { "mine": "a", "generation": 3 } });
        assert_eq!(patch(&statuses, at), Some(expected));
        let written = json!({ "others": 1, "mine": "a", "generation": 3 });
        statuses.observe(&key(), Some(&object("8", &written)));
        assert_eq!(patch(&statuses, at + LONGEST_PAUSE), None, "our own write comes back");
        statuses.want(&key(), mine("a"));
        assert_eq!(patch(&statuses, at + LONGEST_PAUSE), None, "the same is wanted again");
    }

    #[test]
    fn a_write_that_no_watch_sees_is_tried_again() {
        let (statuses, at) = (Statuses::default(), Instant::now() + FIRST_PAUSE);
        statuses.observe(&key(), Some(&object("7", &json!({}))));
        statuses.want(&key(), mine("a"));
        assert!(patch(&statuses, at).is_some());
        assert!(matches!(statuses.next(at, NOW), Next::At(due) if due == at + FIRST_PAUSE));
        assert!(patch(&statuses, at + FIRST_PAUSE).is_some());
    }

    #[test]
    fn who_undoes_our_writes_makes_them_rare() {
        let (statuses, start) = (Statuses::default(), Instant::now() + FIRST_PAUSE);
        statuses.observe(&key(), Some(&object("7", &json!({}))));
        statuses.want(&key(), mine("a"));
        let (mut at, mut writes) = (start, 0);
        while at < start + Duration::from_secs(600) {
            match statuses.next(at, NOW) {
                Next::Write(_) => writes += 1,
                Next::At(due) => at = due,
                Next::Nothing => break,
            }
            statuses.observe(&key(), Some(&object("9", &json!({}))));
        }
        assert!((10..30).contains(&writes), "{writes} writes in ten minutes");
    }

    #[test]
    fn what_is_gone_is_not_written() {
        let (statuses, at) = (Statuses::default(), Instant::now() + FIRST_PAUSE);
        statuses.observe(&key(), Some(&object("7", &json!({}))));
        statuses.want(&key(), mine("a"));
        statuses.observe(&key(), None);
        assert!(matches!(statuses.next(at, NOW), Next::Nothing));
        statuses.want(&key(), mine("a"));
        assert!(matches!(statuses.next(at, NOW), Next::Nothing));
    }
}
