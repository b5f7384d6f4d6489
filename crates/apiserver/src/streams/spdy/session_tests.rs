use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::header::tests::block;
use super::*;

/// The peer: opens streams and reads frames.
struct Peer {
    io: DuplexStream,
    headers: header::Writer,
}

impl Peer {
    fn start() -> (Self, Session) {
        let (near, far) = duplex(1 << 20);
        (Self { io: near, headers: header::Writer::new() }, Session::start(far))
    }

    async fn frame(&mut self, kind: u16, flags: u8, body: &[u8]) {
        let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let [k0, k1] = kind.to_be_bytes();
        self.io.write_all(&[0x80, 3, k0, k1, flags, a, b, c]).await.unwrap();
        self.io.write_all(body).await.unwrap();
    }

    async fn open(&mut self, stream: u32, flags: u8, pairs: &[(&str, &str)]) {
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend(self.headers.fold(&block(pairs)));
        self.frame(1, flags, &body).await;
    }

    async fn data(&mut self, stream: u32, fin: bool, bytes: &[u8]) {
        let [_, a, b, c] = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        self.io.write_all(&stream.to_be_bytes()).await.unwrap();
        self.io.write_all(&[u8::from(fin), a, b, c]).await.unwrap();
        self.io.write_all(bytes).await.unwrap();
    }

    async fn read(&mut self) -> (Head, Vec<u8>) {
        let mut bytes = [0; HEAD];
        self.io.read_exact(&mut bytes).await.unwrap();
        let head = parse_head(bytes).unwrap();
        let (Head::Data { length, .. } | Head::Control { length, .. }) = head;
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await.unwrap();
        (head, body)
    }

    /// The next frame that is no window update.
    async fn next(&mut self) -> (Head, Vec<u8>) {
        loop {
            let frame = self.read().await;
            if !matches!(frame.0, Head::Control { kind: Kind::WindowUpdate, .. }) {
                return frame;
            }
        }
    }

    async fn expect(&mut self, kind: Kind) -> Vec<u8> {
        let (head, body) = self.next().await;
        assert!(matches!(head, Head::Control { kind: k, .. } if k == kind), "{head:?}");
        body
    }
}

#[tokio::test]
async fn a_stream_is_answered_and_carries_bytes_both_ways_until_each_end_closes() {
    let (mut peer, mut session) = Peer::start();
    peer.open(1, 0, &[("streamtype", "data"), ("port", "80")]).await;
    let mut stream = session.next().await.unwrap();
    assert_eq!((stream.header("streamtype"), stream.header("port")), ("data", "80"));
    assert_eq!(number(&peer.expect(Kind::SynReply).await, 0), Some(1));
    peer.data(1, true, b"ping").await;
    let mut heard = String::new();
    stream.io.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "ping");
    stream.io.write_all(b"pong").await.unwrap();
    assert_eq!(peer.next().await, (Head::Data { stream: 1, fin: false, length: 4 }, b"pong".to_vec()));
    drop(stream);
    assert_eq!(peer.next().await.0, Head::Data { stream: 1, fin: true, length: 0 });
}

#[tokio::test]
async fn pings_are_answered_and_unknown_frames_skipped() {
    let (mut peer, _session) = Peer::start();
    peer.frame(42, 0, b"whatever").await;
    peer.frame(4, 0, &[0, 0, 0, 0]).await;
    peer.frame(6, 0, &7u32.to_be_bytes()).await;
    assert_eq!(peer.expect(Kind::Ping).await, 7u32.to_be_bytes());
}

#[tokio::test]
async fn streams_with_wrong_numbers_are_refused() {
    let (mut peer, mut session) = Peer::start();
    peer.open(3, 0, &[]).await;
    let _open = session.next().await.unwrap();
    peer.expect(Kind::SynReply).await;
    for wrong in [2, 3, 1] {
        peer.open(wrong, 0, &[]).await;
        let body = peer.expect(Kind::RstStream).await;
        assert_eq!((number(&body, 0), number(&body, 4)), (Some(wrong), Some(PROTOCOL_ERROR)));
    }
}

#[tokio::test]
async fn what_is_not_spdy_ends_the_session() {
    let (mut peer, mut session) = Peer::start();
    peer.io.write_all(b"\xffGET / HTTP/1.1\r\n").await.unwrap();
    assert!(session.next().await.is_none());
}

#[tokio::test]
async fn a_control_frame_that_is_too_long_ends_the_session() {
    let (mut peer, mut session) = Peer::start();
    peer.io.write_all(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]).await.unwrap();
    peer.expect(Kind::GoAway).await;
    assert!(session.next().await.is_none());
}

#[tokio::test]
async fn readers_see_the_end_when_the_connection_goes() {
    let (mut peer, mut session) = Peer::start();
    peer.open(1, 0, &[]).await;
    let mut stream = session.next().await.unwrap();
    drop(peer);
    let mut rest = Vec::new();
    stream.io.read_to_end(&mut rest).await.unwrap();
    assert!(session.next().await.is_none());
}
