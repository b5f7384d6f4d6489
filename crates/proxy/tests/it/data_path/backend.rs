//! Servers behind the mesh, and small clients before it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that handles each connection by `handle`.
pub async fn serve<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Reads up to the end of a head and a body of the length it tells; `None` at the end of the connection.
pub async fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end);
    let length = header(&head, "content-length").and_then(|text| text.parse().ok());
    let chunked = header(&head, "transfer-encoding") == Some("chunked".into());
    loop {
        let whole = match length {
            _ if chunked => body.ends_with(b"\r\n\r\n") && body.windows(4).any(|window| window == b"\n0\r\n"),
            Some(length) => body.len() >= length,
            None => true,
        };
        if whole {
            return Some((head, body));
        }
        let mut chunk = vec![0; 65536];
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        body.extend_from_slice(&chunk[..n]);
    }
}

/// The value of a header.
pub fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

/// Answers every request with what it received, head and body, and keeps the connection.
pub async fn echo() -> SocketAddr {
    serve(|mut stream| async move {
        while let Some((head, body)) = message(&mut stream).await {
            let text = [head.as_bytes(), &body].concat();
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-App: yes\r\n\r\n", text.len());
            if stream.write_all(&[reply.as_bytes(), &text].concat()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Sends `request` and reads one answer.
pub async fn ask(stream: &mut TcpStream, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).await.expect("write");
    let (head, body) = message(stream).await.expect("an answer");
    (head, String::from_utf8_lossy(&body).into_owned())
}

/// A GET of `path` on a connection of its own.
pub async fn get(proxy: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(proxy).await.expect("connect");
    ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: backend\r\nUser-Agent: test\r\n\r\n")).await
}
