//! Byte streams from end to end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend::serve;
use super::mesh::{CLIENT, Mesh, SERVER, Shape};
use super::resources::{flag, listener, tcp_chain};

#[tokio::test]
async fn bytes_that_are_no_http_pass_over_mutual_tls() {
    let backend = serve(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.write_all(b"bye").await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"\x00\x01 not http").await.expect("write");
    let mut bytes = [0; 11];
    stream.read_exact(&mut bytes).await.expect("read");
    assert_eq!(&bytes, b"\x00\x01 not http");
    stream.shutdown().await.expect("half-close");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("read");
    assert_eq!(rest, b"bye", "what comes after the half-close still arrives");
    let seen = mesh.client.sink.last(1).await;
    assert_eq!((seen.received, seen.sent), (11, 14));
    assert_eq!(seen.upstream_principal, SERVER);
    assert_eq!(mesh.server.sink.last(1).await.principal, CLIENT);
}

#[tokio::test]
async fn servers_that_speak_first_are_heard() {
    let backend = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 ready\r\n").await;
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut port = listener("0.0.0.0_80", "0.0.0.0:80".parse().expect("address"), 2, vec![tcp_chain("opaque")]);
    port.bind_to_port = flag(false);
    port.listener_filters.clear();
    mesh.client.listener(&port);
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).await.expect("the server speaks before the client does");
    assert_eq!(&greeting, b"220 ready\r\n");
    stream.write_all(b"QUIT").await.expect("write");
    stream.shutdown().await.expect("half-close");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("read");
    assert_eq!(rest, b"QUIT");
}

#[tokio::test]
async fn a_server_that_ends_first_still_gets_what_the_client_says() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let backend = serve(move |mut stream| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"\x00bye").await.expect("write");
            stream.shutdown().await.expect("half-close");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("read");
            tell.send(rest).expect("the test listens");
        }
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"\x00 first").await.expect("write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    assert_eq!(answer, b"\x00bye");
    stream.write_all(b", and last").await.expect("write");
    stream.shutdown().await.expect("half-close");
    assert_eq!(told.recv().await.expect("the server heard it"), b"\x00 first, and last");
}
