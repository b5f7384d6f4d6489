//! Listeners: sockets opened and closed as configuration says, connections accepted and handed to their filter chain.

mod accept;
mod conn;
mod proxy_protocol;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::worker::Worker;

pub use conn::{Accepted, Conn};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// The sockets that one worker listens on.
#[derive(Default)]
pub struct Listeners {
    open: HashMap<(Arc<str>, SocketAddr), JoinHandle<()>>,
    failed: HashMap<SocketAddr, io::ErrorKind>,
}

impl Listeners {
    /// Opens and closes sockets so that they are those of the configuration. Connections accepted before go on.
    pub fn follow(&mut self, worker: &Rc<Worker>) {
        let tables = worker.view.tables();
        let mut wanted = HashMap::new();
        for listener in tables.bound_listeners() {
            for address in std::iter::once(&listener.address).chain(&listener.more_addresses) {
                wanted.insert((listener.name.clone(), *address), ());
            }
        }
        self.open.retain(|key, task| {
            let keep = wanted.contains_key(key);
            if !keep {
                task.abort();
            }
            keep
        });
        self.failed.retain(|address, _| wanted.keys().any(|(_, wanted)| wanted == address));
        for (name, address) in wanted.into_keys() {
            if !self.open.contains_key(&(name.clone(), address)) {
                self.open(worker, name, address);
            }
        }
    }

    fn open(&mut self, worker: &Rc<Worker>, name: Arc<str>, address: SocketAddr) {
        match listen(address) {
            Ok(socket) => {
                self.failed.remove(&address);
                let accepting = accept::accept(worker.clone(), name.clone(), socket);
                self.open.insert((name, address), tokio::task::spawn_local(accepting));
            }
            Err(error) => {
                if self.failed.insert(address, error.kind()) != Some(error.kind()) {
                    tracing::error!(listener = %name, %address, %error, "can't listen: is the port taken?");
                }
            }
        }
    }

    /// Whether every socket is open.
    pub fn complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// Closes every socket.
    pub fn close(&mut self) {
        for (_, task) in self.open.drain() {
            task.abort();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own.
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
