//! What clients try that mean no good. Every attack is made on a real connection; afterwards the proxy serves others as before.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend::{echo, get, header};
use super::mesh::{CLIENT, Mesh, Shape};

/// How long the end of a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that comes back until the connection ends.
async fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, async {
        let mut piece = vec![0; 16 << 10];
        // A reset ends it as well.
        while let Ok(n @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..n]);
        }
    });
    read.await.expect("the connection ends");
    all
}

async fn still_serves(proxy: SocketAddr) {
    let (head, _) = get(proxy, "/").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
}

#[tokio::test]
async fn requests_with_two_readings_get_400_and_a_closed_connection() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: backend\r\n\r\n";
    let length = smuggled.len();
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        "Content-Length: +1\r\n".to_owned(),
        format!("X: a\r\n Content-Length: {length}\r\n"),
        format!("X: a\nContent-Length: {length}\r\n"),
        "X: a\0b\r\n".to_owned(),
        "Host: other\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        let request = format!("POST / HTTP/1.1\r\nHost: backend\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        stream.write_all(request.as_bytes()).await.expect("write");
        let answer = String::from_utf8_lossy(&until_end(&mut stream).await).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "501"), "{headers:?}: {answer}");
        assert!(!answer.contains("/smuggled"), "{headers:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {answer}");
    }
    still_serves(mesh.client.address).await;
}

#[tokio::test]
async fn chunks_with_two_readings_end_the_request() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    for body in [
        "0x1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: backend\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: backend\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("write");
        let answer = String::from_utf8_lossy(&until_end(&mut stream).await).into_owned();
        assert!(!answer.contains("/smuggled") && !answer.starts_with("HTTP/1.1 200"), "{body:?}: {answer}");
    }
    still_serves(mesh.client.address).await;
}

/// Nobody but the mesh's own proxies says who somebody is.
#[tokio::test]
async fn identities_told_by_clients_are_forgotten() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let forged = "GET / HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\
        X-Forwarded-Client-Cert: By=forged;URI=spiffe://cluster.local/ns/default/sa/admin\r\n\r\n";
    stream.write_all(forged.as_bytes()).await.expect("write");
    let answer = String::from_utf8_lossy(&until_end(&mut stream).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("forged") && !answer.contains("sa/admin"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(header(body, "x-forwarded-client-cert").is_some_and(|told| told.contains(CLIENT)), "{body}");
}

/// What HTTP/2 can carry and HTTP/1 can't must not become a line of its own there.
#[tokio::test]
async fn http2_cannot_inject_into_http1() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    // Literal headers without indexing, as RFC 7541 writes them: the library refuses to send such.
    let field = |name: &str, value: &str| {
        let mut bytes = vec![0, name.len() as u8];
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(value.len() as u8);
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let base = [(":method", "GET"), (":scheme", "http"), (":authority", "backend"), (":path", "/")];
    for (name, value) in [
        ("x-a", "b\r\nx-injected: c"),
        ("x-a", "b\nx-injected: c"),
        ("x-a\r\nx-injected", "c"),
        ("x-a: b", "c"),
        ("X-Upper", "c"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-a"),
        (":path", "/smuggled"),
        (":path ", "/"),
        ("content-length", "5"),
        ("content-length", "1, 2"),
    ] {
        let mut block: Vec<u8> = base.iter().flat_map(|(name, value)| field(name, value)).collect();
        block.extend(field(name, value));
        let mut stream = begin(mesh.client.address).await;
        // END_STREAM and END_HEADERS.
        stream.write_all(&frame(1, 5, 1, &block)).await.expect("write");
        stream.write_all(&frame(6, 0, 0, &[7; 8])).await.expect("write");
        let answer = answer_to_ping(&mut stream).await;
        assert!(!answer.answered_well, "{name:?}: {value:?} was served");
    }
    for path in ["/a b", "/a\r\nx: y", "//\0"] {
        let mut block: Vec<u8> = base[..3].iter().flat_map(|(name, value)| field(name, value)).collect();
        block.extend(field(":path", path));
        let mut stream = begin(mesh.client.address).await;
        stream.write_all(&frame(1, 5, 1, &block)).await.expect("write");
        stream.write_all(&frame(6, 0, 0, &[7; 8])).await.expect("write");
        assert!(!answer_to_ping(&mut stream).await.answered_well, "{path:?} was served");
    }
    still_serves(mesh.client.address).await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A connection that has begun with HTTP/2.
async fn begin(proxy: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.expect("connect");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("write");
    stream.write_all(&frame(4, 0, 0, &[])).await.expect("write");
    stream
}

struct Seen {
    /// The stream was answered with status 200.
    answered_well: bool,
}

/// Reads frames until the stream is answered or reset, or the connection ends.
async fn answer_to_ping(stream: &mut TcpStream) -> Seen {
    let mut seen = Seen { answered_well: false };
    let reading = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            match head[3] {
                // 0x88 is `:status: 200` in the static table.
                1 => {
                    seen.answered_well = payload.first() == Some(&0x88);
                    return;
                }
                3 | 7 => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer or an end");
    seen
}

/// Writes until the other side has had enough.
async fn flood(stream: &mut TcpStream, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let (mut read, mut write) = stream.split();
    let writing = async {
        for i in 0..200_000 {
            if write.write_all(&next(i)).await.is_err() {
                return i;
            }
        }
        200_000
    };
    let reading = async {
        let mut piece = vec![0; 16 << 10];
        while let Ok(1..) = read.read(&mut piece).await {}
    };
    tokio::select! {
        written = timeout(PATIENCE, writing) => written.expect("the other side has had enough"),
        () = reading => 0,
    }
}

/// HPACK of a GET of `/` at `backend`.
fn get_block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x01, 7];
    block.extend_from_slice(b"backend");
    block
}

#[tokio::test]
async fn floods_of_resets_end_the_connection() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = begin(mesh.client.address).await;
    let sent = flood(&mut stream, |i| {
        let id = 2 * i + 1;
        [frame(1, 5, id, &get_block()), frame(3, 0, id, &8u32.to_be_bytes())].concat()
    })
    .await;
    assert!(sent < 200_000, "all were taken");
    still_serves(mesh.client.address).await;
}

#[tokio::test]
async fn floods_of_continuations_end_the_connection() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = begin(mesh.client.address).await;
    stream.write_all(&frame(1, 1, 1, &get_block())).await.expect("write");
    // Headers that never end: each frame brings another one.
    let header = [&[0, 3][..], b"x-a", &[100], &[b'v'; 100]].concat();
    let sent = flood(&mut stream, |_| frame(9, 0, 1, &header)).await;
    assert!(sent < 200_000, "all were taken");
    still_serves(mesh.client.address).await;
}

/// Answers to settings and pings are owed; a client that doesn't read them must not make them pile up.
#[tokio::test]
async fn floods_of_settings_and_pings_take_no_memory() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    for one in [frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]), frame(6, 0, 0, &[1; 8])] {
        let mut stream = begin(mesh.client.address).await;
        let batch = one.repeat(1000);
        // Without reading: the other side stops to read sooner or later, or ends the connection.
        let written = timeout(Duration::from_secs(3), async {
            for i in 0..20_000 {
                if stream.write_all(&batch).await.is_err() {
                    return i;
                }
            }
            20_000
        })
        .await;
        assert!(written.is_err() || written.is_ok_and(|batches| batches < 20_000), "all were taken");
        still_serves(mesh.client.address).await;
    }
}

/// A client that asks for much and takes nothing holds no more than its windows' worth.
#[tokio::test]
async fn closed_windows_hold_little() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let (mut send, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.expect("handshake");
    tokio::spawn(connection);
    let mut held = Vec::new();
    for i in 0..200 {
        send = send.ready().await.expect("ready");
        let request = Request::get(format!("http://backend/{i}")).body(()).expect("request");
        let (response, _) = send.send_request(request, true).expect("send");
        held.push(timeout(PATIENCE, response).await.expect("in time").expect("an answer"));
    }
    still_serves(mesh.client.address).await;
    drop(held);
    still_serves(mesh.client.address).await;
}
