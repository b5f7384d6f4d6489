//! The access log: one line for each request or connection, written off the request path.

mod filter;
mod format;
mod operator;
mod sink;

use std::sync::Arc;

use lateen_proxy_core::listener::AccessLog;

use crate::record::Record;
use format::LineFormat;
use sink::Sinks;
pub(super) use sink::WorkerSinks;

/// A log with its form made ready, for one worker.
pub struct Compiled {
    log: Arc<AccessLog>,
    format: LineFormat,
    sink: Arc<sink::Sink>,
}

/// All logs of this process.
pub struct AccessLogs {
    sinks: Sinks,
}

impl AccessLogs {
    /// Starts writing.
    pub fn start() -> AccessLogs {
        AccessLogs { sinks: Sinks::start() }
    }

    /// Makes a log's form ready for a worker.
    pub(super) fn compile(&self, log: &Arc<AccessLog>, worker: &mut WorkerSinks) -> Compiled {
        let format = LineFormat::compile(&log.format);
        Compiled { log: log.clone(), format, sink: self.sinks.open(&log.path, worker) }
    }

    /// Writes a record, if the log wants it.
    pub(super) fn write(&self, compiled: &Compiled, record: &Record<'_>) {
        let wanted = compiled.log.filter.as_ref().is_none_or(|filter| filter::wants(filter, record));
        if wanted {
            compiled.sink.append(|line| compiled.format.write(record, line));
        }
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.sinks.dropped()
    }

    /// Waits until everything is written.
    pub fn flush(&self) {
        self.sinks.flush();
    }
}
