//! Chunked bodies.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest line with a chunk's size.
const MAX_SIZE_LINE: usize = 256;
/// Longest trailers.
const MAX_TRAILERS: usize = 16 << 10;

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// Before a size.
    Size,
    /// In a chunk, so many bytes before its end.
    Data(u64),
    /// After a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    /// At the end.
    Done,
}

/// What the next bytes are.
#[derive(Debug)]
pub enum Step {
    /// So many bytes are data.
    Data(usize),
    /// So many bytes are used up.
    Skip(usize),
    /// The body ends after so many bytes.
    End(usize, Option<HeaderMap>),
    /// More bytes are needed.
    More,
}

impl Chunked {
    /// Looks at `bytes`. Data is for the caller to take, and to tell by [`Chunked::took`].
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        match *self {
            Self::Size => self.size(bytes),
            Self::Data(left) if bytes.is_empty() => {
                debug_assert!(left > 0);
                Ok(Step::More)
            }
            Self::Data(left) => Ok(Step::Data(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()))),
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Ok(Step::Skip(2))
                }
                [] | [b'\r'] => Ok(Step::More),
                _ => Err("a chunk is longer than it says"),
            },
            Self::Trailers => self.trailers(bytes),
            Self::Done => Ok(Step::End(0, None)),
        }
    }

    /// `n` bytes of data were taken.
    pub fn took(&mut self, n: usize) {
        if let Self::Data(left) = self {
            *left -= n as u64;
            if *left == 0 {
                *self = Self::DataEnd;
            }
        }
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        let window = &bytes[..bytes.len().min(MAX_SIZE_LINE)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            return if window.len() == MAX_SIZE_LINE { Err("a chunk's size line is too long") } else { Ok(Step::More) };
        };
        let line = window[..end].strip_suffix(b"\r").ok_or("a chunk's size line lacks carriage return")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = line[digits..].trim_ascii_start();
        if digits == 0 || digits > 15 || !(rest.is_empty() || rest[0] == b';') {
            return Err("a chunk's size is not a hexadecimal number");
        }
        if line.contains(&b'\r') {
            return Err("a chunk's size line has a lone carriage return");
        }
        let size = line[..digits]
            .iter()
            .fold(0u64, |number, digit| number << 4 | u64::from((*digit as char).to_digit(16).unwrap_or(0)));
        *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
        Ok(Step::Skip(end + 1))
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        if bytes.starts_with(b"\r\n") {
            *self = Self::Done;
            return Ok(Step::End(2, None));
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > MAX_TRAILERS { Err("trailers are too long") } else { Ok(Step::More) };
        };
        let block = &bytes[..end + 4];
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let (_, headers) = match httparse::parse_headers(block, &mut headers) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            _ => return Err("trailers are malformed"),
        };
        let mut map = HeaderMap::with_capacity(headers.len());
        for header in headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| "trailers are malformed")?;
            let value = HeaderValue::from_bytes(header.value).map_err(|_| "trailers are malformed")?;
            // What frames or routes a message has no place behind it.
            if !crate::http::head::is_hop(name.as_str()) && name != "host" {
                map.append(name, value);
            }
        }
        *self = Self::Done;
        Ok(Step::End(end + 4, Some(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `text` in pieces of `size` bytes.
    fn decode(text: &[u8], size: usize) -> Result<(Vec<u8>, Option<HeaderMap>), &'static str> {
        let (mut state, mut data, mut buffer, mut fed) = (Chunked::Size, Vec::new(), Vec::new(), 0);
        loop {
            match state.step(&buffer)? {
                Step::Data(n) => {
                    data.extend(buffer.drain(..n));
                    state.took(n);
                }
                Step::Skip(n) => drop(buffer.drain(..n)),
                Step::End(_, trailers) => return Ok((data, trailers)),
                Step::More if fed == text.len() => return Err("ended early"),
                Step::More => {
                    let next = (fed + size).min(text.len());
                    buffer.extend_from_slice(&text[fed..next]);
                    fed = next;
                }
            }
        }
    }

    #[test]
    fn bodies_are_read_however_they_arrive() {
        let text = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";
        for size in 1..text.len() {
            let (data, trailers) = decode(text, size).expect("valid");
            assert_eq!(data, b"hello world");
            assert_eq!(trailers.expect("trailers")["x-sum"], "7");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for text in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
        ] {
            assert!(decode(text, text.len()).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
