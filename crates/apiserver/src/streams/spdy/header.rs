//! Header blocks: names and values, compressed with a dictionary that both ends know. Each
//! direction of a connection is one compressed stream over all its blocks.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Names that the dictionary starts with, each after its length in four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding \
    accept-language accept-ranges age allow authorization cache-control connection content-base \
    content-encoding content-language content-length content-location content-md5 content-range \
    content-type date etag expect expires from host if-match if-modified-since if-none-match \
    if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
    proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status";
const MORE_WORDS: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
/// The text that the dictionary ends with.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416\
    417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad \
    Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
    Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 \
    Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,\
    deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace().chain(MORE_WORDS) {
        let length = u32::try_from(word.len()).unwrap_or(0);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
});

/// The most bytes a block may unfold to.
const LIMIT: usize = 64 * 1024;

/// A block that can't be read; the connection can't go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    #[error("headers of a SPDY stream are not compressed as SPDY/3.1 says")]
    Compression,
    #[error("headers of a SPDY stream are longer than {LIMIT} bytes")]
    TooLong,
    #[error("headers of a SPDY stream end early")]
    Short,
}

/// Unfolds the blocks of one direction.
pub(super) struct Reader(Decompress);

impl Reader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The names (lower-case) and values of the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
        parse(&self.unfold(block)?)
    }

    fn unfold(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            if plain.len() >= LIMIT {
                return Err(Error::TooLong);
            }
            plain.reserve(1024);
            let before = (self.0.total_in(), plain.len());
            let result = self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before.0).unwrap_or(0);
            block = &block[used.min(block.len())..];
            if let Err(error) = result {
                error.needs_dictionary().ok_or(Error::Compression)?;
                self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Compression)?;
                continue;
            }
            let stuck = used == 0 && plain.len() == before.1;
            if stuck || (block.is_empty() && plain.len() < plain.capacity()) {
                return Ok(plain);
            }
        }
    }
}

fn parse(plain: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut rest = plain;
    let count = take_number(&mut rest)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let name = take_text(&mut rest)?.to_ascii_lowercase();
        let value = take_text(&mut rest)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn take_number(rest: &mut &[u8]) -> Result<usize, Error> {
    let (bytes, after) = rest.split_first_chunk::<4>().ok_or(Error::Short)?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*bytes)).map_err(|_| Error::Short)
}

fn take_text(rest: &mut &[u8]) -> Result<String, Error> {
    let length = take_number(rest)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Error::Short)?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Folds the blocks of one direction. Ours are all empty: nobody reads headers of a reply.
pub(super) struct Writer(Compress);

impl Writer {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        // A fresh stream takes any dictionary.
        let _ = compress.set_dictionary(&DICTIONARY);
        Self(compress)
    }

    /// The next block, without any header.
    pub(super) fn empty_block(&mut self) -> Vec<u8> {
        self.fold(&[0; 4])
    }

    pub(super) fn fold(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut block = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let used = usize::try_from(self.0.total_in() - start).unwrap_or(plain.len());
            let rest = &plain[used.min(plain.len())..];
            let done = self.0.compress_vec(rest, &mut block, FlushCompress::Sync);
            if done.is_err() || block.len() < block.capacity() {
                return block;
            }
            block.reserve(64);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block before compression.
    pub(in super::super) fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
        let mut plain = number(pairs.len()).to_vec();
        for (name, value) in pairs {
            for text in [name, value] {
                plain.extend_from_slice(&number(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        plain
    }

    #[test]
    fn the_dictionary_is_the_specifications() {
        assert_eq!(DICTIONARY.len(), 1423);
        let adler = DICTIONARY.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!(adler.1 << 16 | adler.0, 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_of_one_connection_are_read_one_after_the_other() {
        let (mut writer, mut reader) = (Writer::new(), Reader::new());
        let long = "x".repeat(5000);
        let blocks = [
            vec![("streamtype", "error")],
            vec![("streamtype", "data"), ("port", "8080"), ("requestid", "0")],
            vec![],
            vec![("long", long.as_str())],
        ];
        for pairs in blocks {
            let wire = writer.fold(&block(&pairs));
            let read = reader.read(&wire).unwrap();
            let expect: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(read, expect);
        }
    }

    #[test]
    fn names_are_read_in_lower_case() {
        let wire = Writer::new().fold(&block(&[("StreamType", "Error")]));
        assert_eq!(Reader::new().read(&wire).unwrap(), [("streamtype".into(), "Error".into())]);
    }

    #[test]
    fn broken_and_huge_blocks_are_refused() {
        assert_eq!(Reader::new().read(b"no zlib here"), Err(Error::Compression));
        let short = Writer::new().fold(&[0, 0, 0, 1, 0]);
        assert_eq!(Reader::new().read(&short), Err(Error::Short));
        let huge = Writer::new().fold(&vec![0; LIMIT * 4]);
        assert_eq!(Reader::new().read(&huge), Err(Error::TooLong));
    }
}
