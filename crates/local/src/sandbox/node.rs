//! The cluster's process: takes what the launcher gives, runs the cluster, ends with the launcher.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::channel::Channel;
use super::message::{FromSandbox, Settings, ToSandbox};
use super::outside::Outside;
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
    allow_many_descriptors();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("start threads: {e}"))?;
    let outside = Outside::new(Arc::clone(channel));
    let stop = listen_to_launcher(Arc::clone(channel), outside.clone()).map_err(|e| format!("start a thread: {e}"))?;
    let listeners: Vec<TcpListener> = listeners.into_iter().map(TcpListener::from).collect();
    let report = {
        let channel = Arc::clone(channel);
        move |message: FromSandbox| {
            let _ = channel.send(&message);
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = cluster::run(settings, listeners, platform, outside, report) => result,
            _ = stop => Ok(()),
        }
    });
    runtime.shutdown_background();
    result
}

/// Watches, pods and connections to and from the host take more than the thousand that is usual.
fn allow_many_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Passes on the sockets that the launcher sends. The result completes when it asks to stop or is gone.
fn listen_to_launcher(channel: Arc<Channel>, outside: Outside) -> std::io::Result<tokio::sync::oneshot::Receiver<()>> {
    let (tell, stop) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("launcher".into()).spawn(move || {
        while let Ok(Some((message, fds))) = channel.recv::<ToSandbox>() {
            match message {
                ToSandbox::Socket { id, error } => outside.answer(id, error, fds),
                ToSandbox::Stop => break,
                _ => {}
            }
        }
        let _ = tell.send(());
    })?;
    Ok(stop)
}
