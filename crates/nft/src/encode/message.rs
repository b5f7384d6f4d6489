//! Netlink messages and attributes.

use super::number::{NESTED, NFNL_BATCH_BEGIN, NFNL_BATCH_END, NFNL_SUBSYS, NLM_F_ACK, NLM_F_REQUEST};

/// Which part of a ruleset a message carries: to name it when the kernel refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Frame,
    Table(usize),
    Map(usize, usize),
    Set(usize, usize),
    Chain(usize, usize),
    Rule(usize, usize, usize),
}

/// Messages that the kernel takes all together or not at all.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    next_set: u32,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        let mut batch = Batch { bytes: Vec::with_capacity(4096), parts: Vec::new(), next_set: 1 };
        batch.frame(NFNL_BATCH_BEGIN);
        batch
    }

    fn frame(&mut self, kind: u16) {
        let subsystem = NFNL_SUBSYS.to_be_bytes();
        self.message(Part::Frame, kind, 0, 0, subsystem, |_| {});
    }

    /// Adds one nf_tables message.
    pub(crate) fn push(&mut self, part: Part, kind: u16, flags: u16, family: u8, fill: impl FnOnce(&mut Attrs<'_>)) {
        self.message(part, (NFNL_SUBSYS << 8) | kind, flags, family, [0, 0], fill);
    }

    fn message(
        &mut self,
        part: Part,
        kind: u16,
        flags: u16,
        family: u8,
        resource: [u8; 2],
        fill: impl FnOnce(&mut Attrs<'_>),
    ) {
        let start = self.bytes.len();
        let sequence = self.parts.len() as u32;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0, resource[0], resource[1]]);
        fill(&mut Attrs(&mut self.bytes));
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.parts.push(part);
    }

    /// An identifier for an anonymous set, unique within the batch.
    pub(crate) fn set_id(&mut self) -> u32 {
        self.next_set += 1;
        self.next_set
    }

    /// Closes the batch: its bytes, and the part that each sequence number carries.
    /// The last message before the end asks for an answer.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Part>) {
        self.ask_for_answer();
        self.frame(NFNL_BATCH_END);
        (self.bytes, self.parts)
    }

    fn ask_for_answer(&mut self) {
        let mut at = 0;
        while let Some(len) = self.bytes.get(at..at + 4) {
            let len = u32::from_ne_bytes([len[0], len[1], len[2], len[3]]) as usize;
            if at + len >= self.bytes.len() {
                let flags = u16::from_ne_bytes([self.bytes[at + 6], self.bytes[at + 7]]) | NLM_F_ACK;
                self.bytes[at + 6..at + 8].copy_from_slice(&flags.to_ne_bytes());
                return;
            }
            at += len;
        }
    }
}

/// Writes attributes at the end of a buffer.
pub(crate) struct Attrs<'a>(pub(crate) &'a mut Vec<u8>);

impl Attrs<'_> {
    fn sized(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self.0);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.sized(kind, |out| out.extend_from_slice(value));
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.sized(kind, |out| {
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        });
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attrs<'_>)) {
        self.sized(kind | NESTED, |out| fill(&mut Attrs(out)));
    }
}
