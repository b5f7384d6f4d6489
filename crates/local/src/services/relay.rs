//! Carrying connections and datagrams between the host's network and the cluster's.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

/// Connections carried at the same time by all of one direction.
pub(crate) const CONNECTIONS: usize = 4096;
/// How long the other end may take to accept.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a flow of datagrams may be silent, as the kernel's own translation allows.
const SILENCE: Duration = Duration::from_secs(60);
/// Datagram flows at the same time.
const FLOWS: usize = 4096;
/// Datagrams of a flow that wait.
const WAITING: usize = 64;
/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// Carries bytes both ways until both ends are done.
pub(crate) async fn splice(mut a: TcpStream, mut b: TcpStream) {
    let _ = (a.set_nodelay(true), b.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut a, &mut b).await;
}

/// Carries `client` to what `connect` reaches; where that fails, the client's connection is reset.
pub(crate) async fn carry<C>(client: TcpStream, connect: C)
where
    C: Future<Output = io::Result<TcpStream>>,
{
    match timeout(PATIENCE, connect).await {
        Ok(Ok(server)) => splice(client, server).await,
        Ok(Err(error)) => reset(client, &error),
        Err(_) => reset(client, &io::ErrorKind::TimedOut.into()),
    }
}

fn reset(client: TcpStream, error: &io::Error) {
    tracing::debug!(%error, "a connection has nowhere to go");
    let _ = client.set_zero_linger();
}

/// Accepts connections and gives each to `each`, at most as many at the same time as there are
/// `slots`; for ever.
pub(crate) async fn accept<F, T>(listener: TcpListener, slots: Arc<Semaphore>, each: F)
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let work = each(client);
                tokio::spawn(async move {
                    work.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Carries what is accepted to `to`, for ever.
pub(super) async fn tcp(listener: TcpListener, to: SocketAddr, slots: Arc<Semaphore>) {
    accept(listener, slots, move |client| carry(client, TcpStream::connect(to))).await;
}

/// Carries datagrams to `to` and their answers back, for ever.
pub(super) async fn udp(socket: UdpSocket, to: SocketAddr) {
    let socket = Arc::new(socket);
    let flows = Flows::default();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, client)) => {
                let back = Arc::clone(&socket);
                flows.send(client, &buffer[..length], move || async move {
                    Ok(Ends { forth: connected(to).await?, back, client })
                });
            }
            Err(error) => not_received(&error).await,
        }
    }
}

/// A datagram didn't arrive: no reason to end, and none to try again in haste.
pub(crate) async fn not_received(error: &io::Error) {
    tracing::debug!(%error, "datagram not received");
    sleep(Duration::from_millis(10)).await;
}

/// A socket of this namespace that talks to `to` only.
pub(crate) async fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if to.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Both ends of a flow of datagrams.
pub(crate) struct Ends {
    /// Connected to the server.
    pub(crate) forth: UdpSocket,
    /// What the client sees answers come from.
    pub(crate) back: Arc<UdpSocket>,
    pub(crate) client: SocketAddr,
}

/// Flows of datagrams; each ends when it has been silent for a while, all with this value.
pub(crate) struct Flows<K> {
    senders: Arc<Mutex<HashMap<K, mpsc::Sender<Vec<u8>>>>>,
}

impl<K> Default for Flows<K> {
    fn default() -> Self {
        Self { senders: Arc::default() }
    }
}

impl<K: Eq + Hash + Clone + Send + 'static> Flows<K> {
    /// Sends a datagram along its flow, which `open` begins where there is none. What finds no room
    /// is lost, as datagrams are.
    pub(crate) fn send<F, T>(&self, key: K, datagram: &[u8], open: F)
    where
        F: FnOnce() -> T,
        T: Future<Output = io::Result<Ends>> + Send + 'static,
    {
        let mut senders = self.senders.lock();
        if let Some(sender) = senders.get(&key) {
            let _ = sender.try_send(datagram.to_vec());
            return;
        }
        if senders.len() >= FLOWS {
            tracing::warn!("datagram dropped: {FLOWS} flows are under way");
            return;
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        let _ = sender.try_send(datagram.to_vec());
        senders.insert(key.clone(), sender);
        let (opening, senders) = (open(), Arc::downgrade(&self.senders));
        tokio::spawn(async move {
            match timeout(PATIENCE, opening).await {
                Ok(Ok(ends)) => flow(&ends, receiver).await,
                Ok(Err(error)) => tracing::debug!(%error, "datagrams have nowhere to go"),
                Err(_) => {}
            }
            if let Some(senders) = senders.upgrade() {
                senders.lock().remove(&key);
            }
        });
    }
}

/// Carries datagrams both ways until nothing comes for a while or the flow's owner is gone.
async fn flow(ends: &Ends, mut datagrams: mpsc::Receiver<Vec<u8>>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            datagram = datagrams.recv() => match datagram {
                // An error is what the one before met: a closed port, which may open.
                Some(datagram) => drop(ends.forth.send(&datagram).await),
                None => return,
            },
            Ok(length) = ends.forth.recv(&mut buffer) => {
                let _ = ends.back.send_to(&buffer[..length], ends.client).await;
            }
            () = sleep(SILENCE) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test]
    async fn bytes_and_ends_are_carried_both_ways() {
        let (front, at) = listener().await;
        let (server, to) = listener().await;
        tokio::spawn(tcp(front, to, Arc::new(Semaphore::new(8))));
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        accepted.write_all(b"answer").await.unwrap();
        drop(accepted);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answer");
    }

    #[tokio::test]
    async fn a_client_of_a_server_that_refuses_is_reset() {
        let (front, at) = listener().await;
        let (gone, to) = listener().await;
        drop(gone);
        tokio::spawn(tcp(front, to, Arc::new(Semaphore::new(8))));
        let mut client = TcpStream::connect(at).await.unwrap();
        let error = client.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn answers_to_datagrams_find_their_client() {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = front.local_addr().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(udp(front, server.local_addr().unwrap()));
        let mut buffer = [0; 16];
        let clients = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        for (i, client) in clients.iter().enumerate() {
            client.send_to(&[i as u8], at).await.unwrap();
            let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], [i as u8]);
            server.send_to(&[i as u8 + 10], peer).await.unwrap();
            let (length, from) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..length], from), (&[i as u8 + 10][..], at));
        }
    }
}
