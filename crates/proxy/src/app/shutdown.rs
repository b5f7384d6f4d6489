//! Serves until the process is told to end, then lets open connections finish.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::{AppError, Proxy};
use crate::worker;

/// How often open connections are counted while draining.
const POLL: Duration = Duration::from_millis(50);

/// Why serving ended.
enum Told {
    /// Finish what is open.
    Drain,
    /// At once.
    Now,
}

/// Returns once the process may end.
pub(super) async fn serve_until_told(proxy: &Proxy, workers: worker::Handle) -> Result<(), AppError> {
    let told = wait(proxy, &workers).await?;
    if matches!(told, Told::Drain) {
        drain(proxy, &workers).await;
    }
    tokio::task::spawn_blocking(move || workers.stop()).await.ok();
    Ok(())
}

async fn wait(proxy: &Proxy, workers: &worker::Handle) -> Result<Told, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Runtime)?;
    let requests = &proxy.requests;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Told::Drain),
            () = requests.terminate.notified() => return Ok(Told::Drain),
            _ = interrupt.recv() => return Ok(Told::Now),
            () = requests.exit.notified() => return Ok(Told::Now),
            () = requests.drain.notified() => {
                tracing::info!("draining: no new traffic is wanted");
                proxy.readiness.drain();
                workers.drain();
            }
        }
    }
}

/// Until the time for it is over; or, where that is asked for, until nothing is open.
async fn drain(proxy: &Proxy, workers: &worker::Handle) {
    let settings = proxy.config().drain;
    tracing::info!(
        connections = workers.active_connections(),
        seconds = settings.termination.as_secs_f64(),
        "told to end: letting open connections finish"
    );
    proxy.readiness.drain();
    workers.drain();
    let began = Instant::now();
    let idle = || settings.exit_on_idle && began.elapsed() >= settings.minimum && workers.active_connections() == 0;
    // With `exit_on_idle` there is no other end than that.
    while !idle() && (settings.exit_on_idle || began.elapsed() < settings.termination) {
        tokio::time::sleep(POLL).await;
    }
    tracing::info!(connections = workers.active_connections(), "drained");
}
