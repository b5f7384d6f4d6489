//! The composition root: makes the parts of one process and runs them until it is told to end.

mod error;
mod identified;
mod proxy;
mod shutdown;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use error::AppError;
pub(crate) use identified::{Identified, start_server};

use crate::agent;
pub use crate::agent::AgentError;
use crate::config::{Config, Environment, ProxyArgs};
use crate::logging::LogLevel;
use proxy::Proxy;

/// `lateen proxy sidecar` and `lateen proxy router`: resolves the configuration and serves until told to end.
pub fn run(args: &ProxyArgs) -> Result<(), AppError> {
    let config = resolve(args)?;
    let log = LogLevel::start(&config.logging);
    run_proxy(config, log)
}

/// Serves as a sidecar or gateway, as the configuration says.
pub fn run_proxy(config: Config, log: LogLevel) -> Result<(), AppError> {
    let runtime = runtime()?;
    let result = runtime.block_on(async { Proxy::new(config, log).run().await });
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

/// `lateen proxy agent -- envoy ...`: runs a stock Envoy as the data plane until told to end.
pub fn run_agent(args: &ProxyArgs, command: &[String]) -> Result<(), AgentError> {
    let config = resolve(args)?;
    LogLevel::start(&config.logging);
    run_agent_with(config, command)
}

/// The same with a configuration that is resolved already.
pub fn run_agent_with(config: Config, command: &[String]) -> Result<(), AgentError> {
    let runtime = runtime()?;
    let result = runtime.block_on(agent::run(config, command));
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

/// Threads for what can only be done blocking, such as looking up a name.
const BLOCKING_THREADS: usize = 4;
/// Longest wait for those at the end.
const SHUTDOWN: Duration = Duration::from_millis(100);

fn resolve(args: &ProxyArgs) -> Result<Config, AppError> {
    Ok(Config::resolve(args, &Environment::of_process(), Path::new("/"))?)
}

/// The runtime of everything but the data path.
fn runtime() -> Result<Runtime, AppError> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(AppError::Runtime)
}
