//! Frames: how they look on the wire.

use bytes::{BufMut, BytesMut};

/// Length of every frame's head.
pub(super) const HEAD: usize = 8;
/// The last frame's mark: this end sends nothing more on the stream.
pub(super) const FLAG_FIN: u8 = 1;
/// Status of a refused stream.
pub(super) const REFUSED_STREAM: u32 = 3;
/// Status of a stream that broke the protocol.
pub(super) const PROTOCOL_ERROR: u32 = 1;
/// The longest control frame taken: headers of a stream are short.
pub(super) const CONTROL_LIMIT: usize = 64 * 1024;

const VERSION: u16 = 0x8003;

/// What a frame is, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Bytes of a stream.
    Data { stream: u32, fin: bool, length: usize },
    /// Anything else.
    Control { kind: Kind, flags: u8, length: usize },
}

/// Kinds of control frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SynStream,
    SynReply,
    RstStream,
    Settings,
    Ping,
    GoAway,
    Headers,
    WindowUpdate,
    /// One that we don't know; it is skipped, as the specification asks.
    Other(u16),
}

impl Kind {
    fn of(number: u16) -> Self {
        match number {
            1 => Self::SynStream,
            2 => Self::SynReply,
            3 => Self::RstStream,
            4 => Self::Settings,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::Headers,
            9 => Self::WindowUpdate,
            other => Self::Other(other),
        }
    }
}

/// Read a frame's head. `None` when the other end speaks another version.
pub(super) fn parse_head(bytes: [u8; HEAD]) -> Option<Head> {
    let [a, b, c, d, flags, l0, l1, l2] = bytes;
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    if a & 0x80 == 0 {
        let stream = u32::from_be_bytes([a, b, c, d]);
        return Some(Head::Data { stream, fin: flags & FLAG_FIN != 0, length });
    }
    if u16::from_be_bytes([a, b]) != VERSION {
        return None;
    }
    let kind = Kind::of(u16::from_be_bytes([c, d]));
    Some(Head::Control { kind, flags, length })
}

/// The big-endian number at `at`.
pub(super) fn number(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    Data {
        stream: u32,
        fin: bool,
        bytes: bytes::Bytes,
    },
    /// Take a stream that the peer opened.
    Reply {
        stream: u32,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
    WindowUpdate {
        stream: u32,
        bytes: u32,
    },
    GoAway {
        last: u32,
        status: u32,
    },
}

impl Out {
    /// Append the frame to `out`; `block` is the compressed empty header block of a reply.
    pub(super) fn put(&self, out: &mut BytesMut, block: &[u8]) {
        match self {
            Self::Data { stream, fin, bytes } => {
                out.put_u32(stream & 0x7fff_ffff);
                put_flags_length(out, u8::from(*fin), bytes.len());
                out.extend_from_slice(bytes);
            }
            Self::Reply { stream } => {
                put_control(out, 2, 4 + block.len());
                out.put_u32(*stream);
                out.extend_from_slice(block);
            }
            Self::Reset { stream, status } => put_pair(out, 3, *stream, *status),
            Self::Ping { id } => {
                put_control(out, 6, 4);
                out.put_u32(*id);
            }
            Self::GoAway { last, status } => put_pair(out, 7, *last, *status),
            Self::WindowUpdate { stream, bytes } => put_pair(out, 9, *stream, *bytes),
        }
    }
}

fn put_pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    put_control(out, kind, 8);
    out.put_u32(first);
    out.put_u32(second);
}

fn put_control(out: &mut BytesMut, kind: u16, length: usize) {
    out.put_u16(VERSION);
    out.put_u16(kind);
    put_flags_length(out, 0, length);
}

fn put_flags_length(out: &mut BytesMut, flags: u8, length: usize) {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&[flags, a, b, c]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Option<Head> {
        parse_head(bytes[..HEAD].try_into().unwrap())
    }

    #[test]
    fn frames_are_written_as_they_are_read() {
        let cases = [
            (
                Out::Data { stream: 3, fin: true, bytes: bytes::Bytes::from_static(b"hello") },
                Head::Data { stream: 3, fin: true, length: 5 },
            ),
            (Out::Ping { id: 7 }, Head::Control { kind: Kind::Ping, flags: 0, length: 4 }),
            (
                Out::Reset { stream: 1, status: REFUSED_STREAM },
                Head::Control { kind: Kind::RstStream, flags: 0, length: 8 },
            ),
            (Out::Reply { stream: 5 }, Head::Control { kind: Kind::SynReply, flags: 0, length: 7 }),
        ];
        for (out, expect) in cases {
            let mut wire = BytesMut::new();
            out.put(&mut wire, b"abc");
            assert_eq!(head(&wire), Some(expect), "{out:?}");
        }
    }

    #[test]
    fn another_version_is_noticed_and_unknown_kinds_are_named() {
        assert_eq!(head(&[0x80, 2, 0, 1, 0, 0, 0, 0]), None);
        let unknown = Head::Control { kind: Kind::Other(42), flags: 0, length: 1 };
        assert_eq!(head(&[0x80, 3, 0, 42, 0, 0, 0, 1]), Some(unknown));
    }
}
