//! Joining a container's main process: what it writes from now on, and its input if it has one.

use std::sync::Arc;

use lateen_apiserver::runtime::{ProcessIo, Reader, TerminalSize, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::container::console::Input;
use crate::container::log::Source;
use crate::container::log_read::{self, Selection, Written};
use crate::container::running::Container;
use crate::pod::live::Live;

/// Shows the container to a client until it ends.
pub(super) async fn join(live: &Live, io: ProcessIo) {
    let container = Arc::clone(&live.container);
    let from = container.log.position();
    let show = |source, to: Option<Writer>| {
        let log = Arc::clone(&container.log);
        async move {
            if let Some(to) = to {
                let selection = Selection { source: Some(source), ..Selection::default() };
                copy(log_read::read(Written::Going(log), from, selection, true), to).await;
            }
        }
    };
    let outputs = async { tokio::join!(show(Source::Stdout, io.stdout), show(Source::Stderr, io.stderr)) };
    let mut exited = live.exited.clone();
    let ended = async {
        let _ = exited.wait_for(Option::is_some).await;
    };
    tokio::select! {
        _ = async { tokio::join!(outputs, ended) } => {}
        () = feed(&container, live.spec.stdin_once == Some(true), io.stdin, io.resize) => {}
    }
}

async fn copy(mut pieces: mpsc::Receiver<std::io::Result<bytes::Bytes>>, mut to: Writer) {
    while let Some(Ok(piece)) = pieces.recv().await {
        if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Closes a container's input when its only client has left, however that happens.
struct Once(Arc<Container>, bool);

impl Drop for Once {
    fn drop(&mut self) {
        if self.1 {
            let container = Arc::clone(&self.0);
            tokio::spawn(async move {
                if let Some(input) = &container.input {
                    input.close().await;
                }
            });
        }
    }
}

/// Passes on what the client types and the size of its terminal. Does not end.
async fn feed(container: &Arc<Container>, once: bool, stdin: Option<Reader>, resize: mpsc::Receiver<TerminalSize>) {
    let typing = async {
        if let (Some(input), Some(stdin)) = (&container.input, stdin) {
            let _once = Once(Arc::clone(container), once);
            type_in(input, stdin).await;
        }
    };
    let sizing = async {
        if let Some(input) = &container.input {
            follow_size(input, resize).await;
        }
    };
    tokio::join!(typing, sizing);
    std::future::pending().await
}

async fn type_in(input: &Input, mut stdin: Reader) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
        if !input.write(&buffer[..count]).await {
            return;
        }
    }
}

async fn follow_size(input: &Input, mut resize: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = resize.recv().await {
        input.resize((size.width, size.height));
    }
}
