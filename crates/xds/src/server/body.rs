//! Responses as the body of a gRPC stream, made piece by piece as the connection takes them.
//!
//! A response to one proxy easily takes megabytes, and a thousand proxies may be due one at once. What is in a resource is
//! encoded already and shared by all of them: large ones go out as they are, and of small ones no more is put together
//! than goes out next.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use http_body::Frame;
use prost::encoding::encoded_len_varint;
use tonic::{Code, Status};

use super::message::{Entry, Response};
use super::transport::ResponseStream;

/// About how much goes out at once.
const PIECE: usize = 16 << 10;

/// Numbers of the fields that both variants have.
const RESOURCES: u8 = 2;

/// The body of a response stream.
pub(super) struct Body {
    delta: bool,
    responses: ResponseStream,
    current: Option<Message>,
    ended: bool,
}

impl Body {
    /// Carries `responses` in the incremental variant, or in that of the state of the world.
    pub(super) fn new(delta: bool, responses: ResponseStream) -> Self {
        Body { delta, responses, current: None, ended: false }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // Only what cannot be put into a header is lost.
            trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(i32::from(status.code())));
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.current.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            this.current = None;
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.responses).poll_next(cx)) {
                Some(Ok(response)) => this.current = Some(Message::new(this.delta, response)),
                Some(Err(status)) => return Poll::Ready(Some(Ok(this.end(&status)))),
                None => return Poll::Ready(Some(Ok(this.end(&Status::new(Code::Ok, ""))))),
            }
        }
    }
}

/// One message of the stream; yields its bytes.
struct Message {
    delta: bool,
    /// What is put together so far.
    piece: BytesMut,
    entries: vec::IntoIter<Entry>,
    /// A large resource that follows `piece`.
    large: Option<Bytes>,
}

impl Message {
    fn new(delta: bool, response: Response) -> Self {
        let Response { type_url, nonce, version, resources, removed } = response;
        let mut head = BytesMut::new();
        put(&mut head, 1, version.as_bytes());
        put(&mut head, 4, type_url.as_bytes());
        put(&mut head, 5, nonce.as_bytes());
        if delta {
            for name in removed {
                put(&mut head, 6, name.as_bytes());
            }
        }
        let rest: usize = resources.iter().map(|entry| field(Lengths::of(entry).whole(delta))).sum();
        let mut piece = BytesMut::new();
        piece.put_u8(0);
        // A message of more than 4 GiB would be refused by any client: none takes more than some MiB.
        piece.put_u32(u32::try_from(head.len() + rest).unwrap_or(u32::MAX));
        piece.unsplit(head);
        Message { delta, piece, entries: resources.into_iter(), large: None }
    }

    fn add(&mut self, entry: Entry) {
        let lengths = Lengths::of(&entry);
        key(&mut self.piece, RESOURCES, lengths.whole(self.delta));
        if self.delta {
            put(&mut self.piece, 1, entry.version.as_bytes());
            put(&mut self.piece, 3, entry.name.as_bytes());
            key(&mut self.piece, 2, lengths.any);
        }
        put(&mut self.piece, 1, entry.type_url.as_bytes());
        if entry.body.len() < PIECE {
            put(&mut self.piece, 2, &entry.body);
        } else {
            key(&mut self.piece, 2, entry.body.len());
            self.large = Some(entry.body);
        }
    }
}

impl Iterator for Message {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.piece.len() < PIECE && self.large.is_none() {
            match self.entries.next() {
                Some(entry) => self.add(entry),
                None => break,
            }
        }
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() { self.large.take() } else { Some(piece.freeze()) }
    }
}

/// Lengths of the messages around a resource.
struct Lengths {
    /// Of the `Any`.
    any: usize,
    /// Of the fields beside it in the incremental variant.
    beside: usize,
}

impl Lengths {
    fn of(entry: &Entry) -> Self {
        let any = given(entry.type_url.len()) + given(entry.body.len());
        Lengths { any, beside: given(entry.version.len()) + given(entry.name.len()) }
    }

    /// Of an element of the list of resources.
    fn whole(&self, delta: bool) -> usize {
        if delta { self.beside + field(self.any) } else { self.any }
    }
}

/// Length of a field with a content of `length` bytes, key included.
fn field(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// The same, but nothing if the content is empty, as protobuf has it for fields that are no messages.
fn given(length: usize) -> usize {
    if length == 0 { 0 } else { field(length) }
}

/// Writes key and length of a field; its number is below 16.
fn key(out: &mut BytesMut, number: u8, length: usize) {
    out.put_u8((number << 3) | 2);
    prost::encoding::encode_varint(length as u64, out);
}

/// Writes a field, unless its content is empty.
fn put(out: &mut BytesMut, number: u8, content: &[u8]) {
    if !content.is_empty() {
        key(out, number, content.len());
        out.put_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use lateen_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
    use prost::Message as _;

    use super::*;

    fn response() -> Response {
        let entry = |name: &str, size: usize| Entry {
            name: name.into(),
            version: "v".repeat(size % 7).into(),
            type_url: "type.googleapis.com/x".into(),
            body: vec![7; size].into(),
        };
        let sizes = [0, 1, 127, 128, 300, PIECE - 1, PIECE, 3 * PIECE, 5];
        Response {
            type_url: "type.googleapis.com/x".into(),
            nonce: "7".into(),
            version: "12".into(),
            resources: sizes.iter().enumerate().map(|(index, size)| entry(&format!("name-{index}"), *size)).collect(),
            removed: vec!["gone".into(), "lost".into()],
        }
    }

    /// The messages of a body, and the status that ends it.
    fn read(mut body: Body) -> (Vec<Bytes>, Status) {
        let (mut cx, mut bytes) = (Context::from_waker(std::task::Waker::noop()), BytesMut::new());
        let mut messages = Vec::new();
        loop {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!("no end") };
            let frame = match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty() && data.len() < 4 * PIECE);
                    bytes.put(data);
                    continue;
                }
                Err(frame) => frame,
            };
            while !bytes.is_empty() {
                let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
                messages.push(bytes.split_to(5 + length).split_off(5).freeze());
            }
            assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(None)));
            return (messages, Status::from_header_map(frame.trailers_ref().unwrap()).unwrap());
        }
    }

    #[test]
    fn pieces_are_the_message() {
        let responses = || -> ResponseStream {
            let none = Response { resources: Vec::new(), ..response() };
            Box::pin(futures::stream::iter([Ok(response()), Ok(none), Ok(response())]))
        };
        let (messages, status) = read(Body::new(true, responses()));
        assert_eq!((messages.len(), status.code()), (3, Code::Ok));
        for message in [&messages[0], &messages[2]] {
            let read = DeltaDiscoveryResponse::decode(message.clone()).unwrap();
            assert_eq!(read, response().into());
            assert_eq!(read.encoded_len(), message.len());
        }
        assert_eq!(DeltaDiscoveryResponse::decode(messages[1].clone()).unwrap().removed_resources, ["gone", "lost"]);
        let (messages, _) = read(Body::new(false, responses()));
        let read = DiscoveryResponse::decode(messages[0].clone()).unwrap();
        assert_eq!(read, response().into());
    }

    #[test]
    fn an_error_ends_the_stream_with_its_status() {
        let refused = Err(Status::permission_denied("not you"));
        let (messages, status) = read(Body::new(true, Box::pin(futures::stream::iter([Ok(response()), refused]))));
        assert_eq!((messages.len(), status.code(), status.message()), (1, Code::PermissionDenied, "not you"));
    }
}
