//! Sockets of the host's network, for the cluster inside: a socket stays in the network namespace
//! where it was made, so the launcher outside makes them and hands them over.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::channel::Channel;
use super::message::FromSandbox;

/// Requests under way at the same time: so few that sending one never waits.
const AT_ONCE: usize = 64;

/// A socket that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// One that accepts connections, or takes datagrams, at an address of the host.
    Listen { udp: bool, at: SocketAddr },
    /// One to connect with.
    Connect { udp: bool, v6: bool },
}

/// The way to the launcher. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outside(Arc<Inner>);

struct Inner {
    channel: Arc<Channel>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<io::Result<OwnedFd>>>>,
    slots: Semaphore,
}

impl Outside {
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        let waiting = Mutex::new(HashMap::new());
        Self(Arc::new(Inner { channel, next: AtomicU64::new(0), waiting, slots: Semaphore::new(AT_ONCE) }))
    }

    /// A socket, not blocking; the error is that of the host's kernel.
    pub(crate) async fn socket(&self, wanted: Wanted) -> io::Result<OwnedFd> {
        let _slot = self.0.slots.acquire().await.map_err(io::Error::other)?;
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.0.waiting.lock().insert(id, tell);
        if let Err(error) = self.0.channel.send(&FromSandbox::Socket { id, wanted }) {
            self.0.waiting.lock().remove(&id);
            return Err(error);
        }
        told.await.map_err(|_| io::Error::other("the launcher is gone"))?
    }

    /// The launcher answered.
    pub(crate) fn answer(&self, id: u64, error: Option<i32>, fds: Vec<OwnedFd>) {
        let Some(tell) = self.0.waiting.lock().remove(&id) else { return };
        let _ = tell.send(match (error, fds.into_iter().next()) {
            (Some(code), _) => Err(io::Error::from_raw_os_error(code)),
            (None, Some(fd)) => Ok(fd),
            (None, None) => Err(io::Error::other("the launcher sent no socket")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn answers_find_those_who_asked() {
        let (ours, theirs) = Channel::pair().unwrap();
        let outside = Outside::new(Arc::new(ours));
        let ask = |port: u16| {
            let outside = outside.clone();
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            tokio::spawn(async move { outside.socket(Wanted::Listen { udp: false, at }).await })
        };
        let mut asked = [Some(ask(1)), Some(ask(2))];
        tokio::task::yield_now().await;
        let replies = tokio::task::spawn_blocking({
            let outside = outside.clone();
            move || {
                for _ in 0..2 {
                    let (message, _) = theirs.recv::<FromSandbox>().unwrap().unwrap();
                    let FromSandbox::Socket { id, wanted: Wanted::Listen { at, .. } } = message else {
                        panic!("{message:?}")
                    };
                    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                    let fd = socket.as_fd().try_clone_to_owned().unwrap();
                    outside.answer(id, (at.port() == 1).then_some(98), if at.port() == 1 { vec![] } else { vec![fd] });
                }
            }
        });
        replies.await.unwrap();
        let refused = asked[0].take().unwrap().await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(asked[1].take().unwrap().await.unwrap().is_ok());
    }
}
