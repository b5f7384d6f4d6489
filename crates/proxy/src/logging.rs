//! The process's own log: on standard error, as Istio's agent writes it, its level changeable while it runs.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::Logging;

/// Changes the level of the log.
#[derive(Clone)]
pub struct LogLevel {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    current: Arc<Mutex<String>>,
}

/// Why a level was refused.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// No such level.
    #[error(
        "`{0}` is no level; use off, error, warn, info, debug or trace, also by part as in info,lateen_proxy::dns=debug"
    )]
    Unknown(String),
    /// The log belongs to whoever started this.
    #[error("the log was set up by another part of this process: its level cannot be changed here")]
    Foreign,
}

impl LogLevel {
    /// Starts the log.
    pub fn start(logging: &Logging) -> LogLevel {
        let current = Arc::new(Mutex::new(logging.level.clone()));
        let filter = EnvFilter::try_new(&logging.level).unwrap_or_else(|_| EnvFilter::new("info"));
        let (filter, handle) = reload::Layer::new(filter);
        let plain = (!logging.json).then(|| fmt::layer().with_writer(std::io::stderr).with_ansi(false));
        let json = logging.json.then(|| fmt::layer().json().with_writer(std::io::stderr));
        let started = tracing_subscriber::registry().with(filter).with(plain).with(json).try_init();
        LogLevel { handle: started.is_ok().then_some(handle), current }
    }

    /// The level now.
    pub fn current(&self) -> String {
        self.current.lock().clone()
    }

    /// Changes the level.
    pub fn set(&self, level: &str) -> Result<(), LevelError> {
        let unknown = || LevelError::Unknown(level.to_owned());
        let known = level.split(',').all(|part| {
            let word = part.rsplit('=').next().unwrap_or(part);
            matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace")
        });
        if !known {
            return Err(unknown());
        }
        let filter = EnvFilter::try_new(level).map_err(|_| unknown())?;
        let handle = self.handle.as_ref().ok_or(LevelError::Foreign)?;
        handle.reload(filter).map_err(|_| LevelError::Foreign)?;
        *self.current.lock() = level.to_owned();
        Ok(())
    }
}
