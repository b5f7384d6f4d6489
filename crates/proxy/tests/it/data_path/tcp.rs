//! Byte streams from end to end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend::serve;
use super::mesh::{CLIENT, Mesh, SERVER, Shape};

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
