//! What one worker has counted and logged.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_proxy_core::listener::AccessLog;

use super::access_log::{AccessLogs, Compiled, WorkerSinks};
use super::authentication;
use super::authorization::Counts;
use super::callers::Callers;
use super::identity::Identity;
use super::key::{self, Key};
use super::labels::labels;
use super::series::Series;
use crate::record::Record;

/// Sets of labels kept by one worker; what comes beyond shares one set.
const MAX_SERIES: usize = 2000;
/// Remembered ways to a series.
const MAX_KEYS: usize = 8000;
/// Remembered log formats.
const MAX_LOGS: usize = 256;

/// The shard of one worker.
#[derive(Default)]
pub(super) struct Shard {
    by_key: HashMap<u64, (Key, Arc<Series>)>,
    by_labels: HashMap<Box<str>, Arc<Series>>,
    logs: HashMap<usize, (Arc<AccessLog>, Compiled)>,
    sinks: WorkerSinks,
    /// What became of tokens.
    pub(super) authentication: authentication::Counts,
    /// What rules decided.
    pub(super) authorization: Counts,
    /// Who called.
    pub(super) callers: Callers,
}

impl Shard {
    /// The series for a record, made when it is the first of its kind.
    pub(super) fn series(&mut self, record: &Record<'_>, identity: &Identity) -> Arc<Series> {
        let hash = key::hash(record);
        if let Some((key, series)) = self.by_key.get(&hash)
            && key.fits(record)
        {
            return series.clone();
        }
        let series = self.series_by_labels(record, identity);
        if self.by_key.len() >= MAX_KEYS {
            self.by_key.clear();
        }
        self.by_key.insert(hash, (Key::of(record), series.clone()));
        series
    }

    fn series_by_labels(&mut self, record: &Record<'_>, identity: &Identity) -> Arc<Series> {
        let mut text = labels(record, identity);
        if self.by_labels.len() >= MAX_SERIES && !self.by_labels.contains_key(text.as_str()) {
            text = overflow(record);
        }
        let request = record.request;
        let entry = self.by_labels.entry(text.clone().into());
        entry.or_insert_with(|| Arc::new(Series::new(text, request.as_ref()))).clone()
    }

    /// All series.
    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        self.by_labels.values().cloned().collect()
    }

    /// Writes a record to its logs.
    pub(super) fn log(&mut self, record: &Record<'_>, logs: &AccessLogs) {
        for log in record.access_logs {
            let address = Arc::as_ptr(log) as usize;
            if self.logs.len() >= MAX_LOGS && !self.logs.contains_key(&address) {
                self.logs.clear();
            }
            let entry = self.logs.entry(address);
            // The entry keeps the log alive, so that its address stays its own.
            let (_, compiled) = entry.or_insert_with(|| (log.clone(), logs.compile(log, &mut self.sinks)));
            logs.write(compiled, record);
        }
    }
}

/// The labels for what is beyond the limit.
fn overflow(record: &Record<'_>) -> String {
    let protocol = match record.request {
        None => "tcp",
        Some(request) if request.grpc => "grpc",
        Some(_) => "http",
    };
    format!("reporter=\"overflow\",request_protocol=\"{protocol}\"")
}
