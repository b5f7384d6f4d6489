//! Fetches the keys of those who issue tokens, again and again: they rotate.

mod fetch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lateen_control_core::keys::{self, KeySource};
use lateen_control_core::snapshot::Snapshot;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::metrics::{self, Metrics};

pub use fetch::{Fetcher, Net};

/// First pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What came of fetching: a source, and its keys unless that failed.
pub type Fetched = (KeySource, Option<Arc<str>>);

/// Keeps the keys fresh that policies want.
pub struct Keeper {
    fetcher: Arc<Fetcher>,
    interval: Duration,
    results: mpsc::Sender<Fetched>,
    metrics: Arc<Metrics>,
    tasks: JoinSet<()>,
    kept: BTreeMap<KeySource, (Duration, tokio::task::AbortHandle)>,
}

impl Keeper {
    /// Fetches every `interval`; results go to `results`.
    pub fn new(fetcher: Fetcher, interval: Duration, results: mpsc::Sender<Fetched>, metrics: Arc<Metrics>) -> Self {
        let (fetcher, tasks, kept) = (Arc::new(fetcher), JoinSet::new(), BTreeMap::new());
        Self { fetcher, interval, results, metrics, tasks, kept }
    }

    /// Begins to keep what the state wants now, and stops to keep what it no longer wants. Says what is new and what
    /// is gone.
    pub fn follow(&mut self, snapshot: &Snapshot) -> (Vec<(KeySource, Duration)>, Vec<KeySource>) {
        let wanted = keys::wanted(snapshot);
        let unwanted = |(source, (timeout, task)): (&KeySource, &(Duration, tokio::task::AbortHandle))| {
            let keep = wanted.get(source).is_some_and(|(wanted, _)| wanted == timeout);
            (!keep).then(|| {
                task.abort();
                source.clone()
            })
        };
        let ended: Vec<KeySource> = self.kept.iter().filter_map(unwanted).collect();
        ended.iter().for_each(|source| drop(self.kept.remove(source)));
        let mut new = Vec::new();
        for (source, (timeout, object)) in &wanted {
            if self.kept.contains_key(source) {
                continue;
            }
            let one = One {
                fetcher: self.fetcher.clone(),
                source: source.clone(),
                timeout: *timeout,
                object: object.clone(),
                interval: self.interval,
                results: self.results.clone(),
                metrics: self.metrics.clone(),
            };
            self.kept.insert(source.clone(), (*timeout, self.tasks.spawn(one.keep())));
            new.push((source.clone(), *timeout));
        }
        // What ended is taken away from the list of tasks too.
        while self.tasks.try_join_next().is_some() {}
        (new, ended.into_iter().filter(|source| !wanted.contains_key(source)).collect())
    }
}

/// The keys of one source.
struct One {
    fetcher: Arc<Fetcher>,
    source: KeySource,
    timeout: Duration,
    object: String,
    interval: Duration,
    results: mpsc::Sender<Fetched>,
    metrics: Arc<Metrics>,
}

impl One {
    async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        let mut known = false;
        loop {
            let fetched = self.fetcher.keys(&self.source, self.timeout).await;
            let wait = match fetched {
                Ok(text) => {
                    self.metrics.add(&metrics::PILOT_JWKS_FETCH_SUCCESS, &[]);
                    (known, pause) = (true, FIRST_PAUSE);
                    if self.results.send((self.source.clone(), Some(text.into()))).await.is_err() {
                        return;
                    }
                    self.interval
                }
                Err(reason) => {
                    self.metrics.add(&metrics::PILOT_JWKS_FETCH_FAIL, &[]);
                    let effect =
                        if known { "those known stay in force" } else { "all tokens of their issuer are refused" };
                    tracing::warn!(source = %self.source, object = self.object, "keys can't be fetched, so {effect}: {reason}");
                    if self.results.send((self.source.clone(), None)).await.is_err() {
                        return;
                    }
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}
