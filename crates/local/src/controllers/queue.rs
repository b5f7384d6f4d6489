//! A work queue of keys: each key waits at most once, is worked on by one worker at a time, and
//! comes back later, with growing delay, when the work failed.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(10);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What a queue can hold.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static> Key for T {}

/// What to do with a key after its work went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until it is added again.
    Done,
    /// Look at it again after this time.
    After(Duration),
}

/// The work for one key: makes the world as the key's object wants it.
pub trait Reconcile: Send + Sync + 'static {
    /// The queue's key.
    type Key: Key;
    /// Why the work failed.
    type Error: Display + Send;

    /// Name for logs.
    fn name(&self) -> &'static str;

    /// Bring the world one step closer to what `key` wants; called again after an error.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Self::Error>> + Send;
}

struct State<K> {
    ready: VecDeque<K>,
    /// Waiting in `ready`, or to be put there once the running work on it ends.
    dirty: HashSet<K>,
    running: HashSet<K>,
    delayed: BTreeSet<(Instant, K)>,
    failures: HashMap<K, u32>,
}

/// A queue of keys, shared between those who add and the workers.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

impl<K: Key> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                dirty: HashSet::new(),
                running: HashSet::new(),
                delayed: BTreeSet::new(),
                failures: HashMap::new(),
            }),
            wake: Notify::new(),
        }
    }
}

impl<K: Key> Queue<K> {
    /// Ask for `key` to be worked on, at once if a worker is free.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.wake.notify_one();
    }

    /// Ask for `key` to be worked on after `delay`.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state.lock().delayed.insert((Instant::now() + delay, key));
        self.wake.notify_one();
    }

    async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.state.lock();
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.delayed.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    fn done(&self, key: &K, again: Option<Duration>, failed: bool) {
        let mut state = self.state.lock();
        state.running.remove(key);
        if !failed {
            state.failures.remove(key);
        }
        if let Some(delay) = again {
            state.delayed.insert((Instant::now() + delay, key.clone()));
        }
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
        }
        drop(state);
        self.wake.notify_one();
    }

    fn next_delay(&self, key: &K) -> Duration {
        let mut state = self.state.lock();
        let count = state.failures.entry(key.clone()).or_insert(0);
        let delay = FIRST_DELAY.saturating_mul(1 << (*count).min(16)).min(MAX_DELAY);
        *count = count.saturating_add(1);
        delay
    }
}

impl<K: Key> State<K> {
    fn add(&mut self, key: K) {
        if self.dirty.insert(key.clone()) && !self.running.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn promote(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.delayed.pop_first() {
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

/// Start `workers` tasks in `tasks` that work on the keys of `queue`.
pub fn start<R: Reconcile>(tasks: &mut JoinSet<()>, reconciler: R, queue: &Arc<Queue<R::Key>>, workers: usize) {
    let reconciler = Arc::new(reconciler);
    for _ in 0..workers {
        tasks.spawn(work(Arc::clone(&reconciler), Arc::clone(queue)));
    }
}

async fn work<R: Reconcile>(reconciler: Arc<R>, queue: Arc<Queue<R::Key>>) {
    loop {
        let key = queue.next().await;
        match reconciler.reconcile(&key).await {
            Ok(Next::Done) => queue.done(&key, None, false),
            Ok(Next::After(delay)) => queue.done(&key, Some(delay), false),
            Err(error) => {
                let delay = queue.next_delay(&key);
                tracing::debug!(
                    controller = reconciler.name(),
                    ?key,
                    %error,
                    retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                    "work failed; will try again"
                );
                queue.done(&key, Some(delay), true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    struct Recording {
        seen: mpsc::UnboundedSender<(String, Instant)>,
        answers: Mutex<VecDeque<Result<Next, String>>>,
        takes: Duration,
    }

    impl Reconcile for Recording {
        type Key = String;
        type Error = String;

        fn name(&self) -> &'static str {
            "recording"
        }

        async fn reconcile(&self, key: &String) -> Result<Next, String> {
            let _ = self.seen.send((key.clone(), Instant::now()));
            tokio::time::sleep(self.takes).await;
            self.answers.lock().pop_front().unwrap_or(Ok(Next::Done))
        }
    }

    fn recording(
        answers: Vec<Result<Next, String>>,
        takes: Duration,
    ) -> (Recording, mpsc::UnboundedReceiver<(String, Instant)>) {
        let (seen, rx) = mpsc::unbounded_channel();
        let answers = Mutex::new(answers.into());
        (Recording { seen, answers, takes }, rx)
    }

    #[tokio::test]
    async fn a_key_added_many_times_is_worked_on_once() {
        let queue = Arc::new(Queue::default());
        for _ in 0..5 {
            queue.add("a".to_string());
        }
        queue.add("b".to_string());
        let (reconciler, mut rx) = recording(vec![], Duration::ZERO);
        let mut tasks = JoinSet::new();
        start(&mut tasks, reconciler, &queue, 1);
        assert_eq!(rx.recv().await.unwrap().0, "a");
        assert_eq!(rx.recv().await.unwrap().0, "b");
        queue.add("c".to_string());
        assert_eq!(rx.recv().await.unwrap().0, "c");
    }

    #[tokio::test]
    async fn a_change_during_the_work_brings_the_key_back_but_never_twice_at_once() {
        let queue = Arc::new(Queue::default());
        let takes = Duration::from_millis(30);
        let (reconciler, mut rx) = recording(vec![], takes);
        let mut tasks = JoinSet::new();
        start(&mut tasks, reconciler, &queue, 4);
        queue.add("a".to_string());
        let (_, first) = rx.recv().await.unwrap();
        queue.add("a".to_string());
        queue.add("a".to_string());
        let (_, second) = rx.recv().await.unwrap();
        assert!(second - first >= takes);
        queue.add("b".to_string());
        assert_eq!(rx.recv().await.unwrap().0, "b");
    }

    #[tokio::test]
    async fn failed_work_is_tried_again() {
        let queue = Arc::new(Queue::default());
        let failures = (0..3).map(|_| Err("no".to_string())).collect();
        let (reconciler, mut rx) = recording(failures, Duration::ZERO);
        let mut tasks = JoinSet::new();
        start(&mut tasks, reconciler, &queue, 1);
        queue.add("a".to_string());
        let first = rx.recv().await.unwrap().1;
        for _ in 0..3 {
            rx.recv().await.unwrap();
        }
        assert!(first.elapsed() >= FIRST_DELAY * 7);
    }

    #[test]
    fn delays_double_up_to_a_limit_and_start_again_after_success() {
        let queue: Queue<&str> = Queue::default();
        let delays: Vec<_> = (0..20).map(|_| queue.next_delay(&"a")).collect();
        assert_eq!(delays[..3], [FIRST_DELAY, FIRST_DELAY * 2, FIRST_DELAY * 4]);
        assert_eq!(delays[19], MAX_DELAY);
        queue.done(&"a", None, false);
        assert_eq!(queue.next_delay(&"a"), FIRST_DELAY);
    }

    #[tokio::test]
    async fn work_can_ask_to_look_again_later() {
        let queue = Arc::new(Queue::default());
        let wait = Duration::from_millis(30);
        let (reconciler, mut rx) = recording(vec![Ok(Next::After(wait))], Duration::ZERO);
        let mut tasks = JoinSet::new();
        start(&mut tasks, reconciler, &queue, 1);
        queue.add("a".to_string());
        let first = rx.recv().await.unwrap().1;
        let second = rx.recv().await.unwrap().1;
        assert!(second - first >= wait);
    }
}
