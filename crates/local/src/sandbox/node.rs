//! The cluster's process: takes what the launcher gives, runs the cluster, ends with the launcher.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

use super::channel::Channel;
use super::message::{FromSandbox, Settings, ToSandbox};
use crate::cluster;
use crate::reexec::Platform;

pub(crate) fn main(platform: Platform) -> ExitCode {
    let Ok(channel) = Channel::from_stdin() else { return ExitCode::from(2) };
    let Ok(Some((ToSandbox::Start(settings), listeners))) = channel.recv() else {
        return ExitCode::from(2);
    };
    let channel = Arc::new(channel);
    match run(&channel, settings, listeners, platform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = channel.send(&FromSandbox::Failed(reason));
            ExitCode::from(1)
        }
    }
}

fn run(channel: &Arc<Channel>, settings: Settings, listeners: Vec<OwnedFd>, platform: Platform) -> Result<(), String> {
    // Containers are started by stages that end at once; their processes come to us.
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("adopt containers: {e}"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("start threads: {e}"))?;
    let stop = stop_signal(Arc::clone(channel)).map_err(|e| format!("start a thread: {e}"))?;
    let listeners: Vec<TcpListener> = listeners.into_iter().map(TcpListener::from).collect();
    let report = {
        let channel = Arc::clone(channel);
        move |message: FromSandbox| {
            let _ = channel.send(&message);
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = cluster::run(settings, listeners, platform, report) => result,
            _ = stop => Ok(()),
        }
    });
    runtime.shutdown_background();
    result
}

/// Completes when the launcher asks to stop or is gone.
fn stop_signal(channel: Arc<Channel>) -> std::io::Result<tokio::sync::oneshot::Receiver<()>> {
    let (tell, stop) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("launcher".into()).spawn(move || {
        while let Ok(Some((message, _))) = channel.recv::<ToSandbox>() {
            if matches!(message, ToSandbox::Stop) {
                break;
            }
        }
        let _ = tell.send(());
    })?;
    Ok(stop)
}
