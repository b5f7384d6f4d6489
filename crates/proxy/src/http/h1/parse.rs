//! Reading heads of HTTP/1, strictly: what could be read in two ways is refused.

use std::mem::MaybeUninit;
use std::ops::Range;

use smallvec::SmallVec;

/// Most headers of a response.
pub const MAX_HEADERS: usize = 256;

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("malformed HTTP/1 head: {0}")]
    Malformed(&'static str),
    /// More than one reading of where the body ends.
    #[error("ambiguous body length: {0}")]
    Ambiguous(&'static str),
    /// Too many headers, or too long ones.
    #[error("request head too large")]
    TooLarge,
    /// HTTP/1.0 with lines that not every server reads alike.
    #[error("HTTP/1.0 with lines that end without carriage return is not accepted: use HTTP/1.1")]
    Http10,
    /// A coding other than chunked.
    #[error("transfer coding not supported: only chunked is")]
    Coding,
}

/// Where something lies in the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of(base: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(base.as_ptr() as usize);
        Self { start: start as u32, len: part.len() as u32 }
    }

    /// As a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// How the body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Where the parts of a head are.
#[derive(Debug)]
pub struct Parts {
    /// Length of the head with the empty line.
    pub len: usize,
    /// Method of a request, reason of a response.
    pub word: Span,
    /// Target of a request.
    pub target: Span,
    /// Status of a response.
    pub status: u16,
    /// HTTP/1.0.
    pub http10: bool,
    /// Headers.
    pub headers: SmallVec<[(Span, Span); 24]>,
    /// `content-length`.
    pub length: Option<u64>,
    /// `transfer-encoding: chunked`.
    pub chunked: bool,
    /// `connection: close`.
    pub close: bool,
    /// `connection: keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`, when `connection` names it.
    pub upgrade: Option<Span>,
    /// `expect: 100-continue`.
    pub expect_continue: bool,
    /// `host`.
    pub host: Option<Span>,
    /// Headers that `connection` names.
    pub nominated: SmallVec<[Span; 2]>,
}

/// Reads a request's head; `None` when it isn't complete.
pub fn request(bytes: &mut [u8], max_headers: usize) -> Result<Option<Parts>, HeadError> {
    let mut parts = {
        let mut few = [const { MaybeUninit::uninit() }; 64];
        let mut request = httparse::Request::new(&mut []);
        let mut many;
        let result = match request.parse_with_uninit_headers(bytes, &mut few[..max_headers.min(64)]) {
            Err(httparse::Error::TooManyHeaders) if max_headers > 64 => {
                many = vec![MaybeUninit::uninit(); max_headers];
                request = httparse::Request::new(&mut []);
                request.parse_with_uninit_headers(bytes, &mut many)
            }
            other => other,
        };
        let httparse::Status::Complete(len) = result.map_err(refused)? else { return Ok(None) };
        let method = request.method.unwrap_or_default();
        let target = request.path.unwrap_or_default();
        let mut parts = Parts::new(bytes, len, request.headers);
        parts.word = Span::of(bytes, method.as_bytes());
        parts.target = Span::of(bytes, target.as_bytes());
        parts.http10 = request.version == Some(0);
        parts
    };
    // To clients of HTTP/1.0, which may be of another mind about lines, the version says more than how they end.
    strict_lines(&bytes[..parts.len]).map_err(|error| if parts.http10 { HeadError::Http10 } else { error })?;
    parts.read_headers(bytes)?;
    if parts.http10 && parts.chunked {
        return Err(HeadError::Ambiguous("transfer-encoding in HTTP/1.0"));
    }
    Ok(Some(parts))
}

/// Reads a response's head; `None` when it isn't complete.
pub fn response(bytes: &mut [u8]) -> Result<Option<Parts>, HeadError> {
    let mut parts = {
        let mut few = [const { MaybeUninit::uninit() }; 64];
        let mut response = httparse::Response::new(&mut []);
        let mut many;
        let config = httparse::ParserConfig::default();
        let result = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                many = [const { MaybeUninit::uninit() }; MAX_HEADERS];
                response = httparse::Response::new(&mut []);
                config.parse_response_with_uninit_headers(&mut response, bytes, &mut many)
            }
            other => other,
        };
        let httparse::Status::Complete(len) = result.map_err(refused)? else { return Ok(None) };
        let reason = response.reason.unwrap_or_default();
        let mut parts = Parts::new(bytes, len, response.headers);
        parts.word = if reason.is_empty() { Span::default() } else { Span::of(bytes, reason.as_bytes()) };
        parts.status = response.code.unwrap_or(0);
        parts.http10 = response.version == Some(0);
        parts
    };
    if !(100..1000).contains(&parts.status) {
        return Err(HeadError::Malformed("status"));
    }
    parts.read_headers(bytes)?;
    Ok(Some(parts))
}

fn refused(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::HeaderName => HeadError::Malformed("header name"),
        httparse::Error::HeaderValue => HeadError::Malformed("header value"),
        httparse::Error::Version => HeadError::Malformed("version"),
        httparse::Error::Status => HeadError::Malformed("status"),
        httparse::Error::NewLine => HeadError::Malformed("line end"),
        httparse::Error::Token => HeadError::Malformed("request line"),
    }
}

/// Every line must end in CR LF: a lone LF is read differently by different servers.
fn strict_lines(head: &[u8]) -> Result<(), HeadError> {
    let lone = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r');
    if lone { Err(HeadError::Malformed("a line ends without carriage return")) } else { Ok(()) }
}

impl Parts {
    fn new(bytes: &[u8], len: usize, headers: &[httparse::Header<'_>]) -> Self {
        let span =
            |header: &httparse::Header<'_>| (Span::of(bytes, header.name.as_bytes()), Span::of(bytes, header.value));
        Self {
            len,
            word: Span::default(),
            target: Span::default(),
            status: 0,
            http10: false,
            headers: headers.iter().map(span).collect(),
            length: None,
            chunked: false,
            close: false,
            keep_alive: false,
            upgrade: None,
            expect_continue: false,
            host: None,
            nominated: SmallVec::new(),
        }
    }

    /// Makes names lower case and looks at the headers that say how the message is to be handled.
    fn read_headers(&mut self, bytes: &mut [u8]) -> Result<(), HeadError> {
        let mut upgrade = None;
        let mut says_upgrade = false;
        for i in 0..self.headers.len() {
            let (name, value) = self.headers[i];
            bytes[name.range()].make_ascii_lowercase();
            let text = &bytes[value.range()];
            match &bytes[name.range()] {
                b"host" if self.host.replace(value).is_some() => {
                    return Err(HeadError::Malformed("more than one host header"));
                }
                b"content-length" => self.read_length(text)?,
                b"transfer-encoding" => self.read_coding(text)?,
                b"connection" => says_upgrade |= self.read_connection(bytes, text),
                b"upgrade" => upgrade = Some(value),
                b"expect" => self.expect_continue = text.eq_ignore_ascii_case(b"100-continue"),
                _ => {}
            }
        }
        if self.chunked && self.length.is_some() {
            return Err(HeadError::Ambiguous("both content-length and transfer-encoding"));
        }
        self.upgrade = upgrade.filter(|_| says_upgrade);
        Ok(())
    }

    fn read_length(&mut self, text: &[u8]) -> Result<(), HeadError> {
        let digits = !text.is_empty() && text.len() <= 19 && text.iter().all(u8::is_ascii_digit);
        if !digits {
            return Err(HeadError::Ambiguous("content-length is not a number"));
        }
        let length = text.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        if self.length.replace(length).is_some() {
            return Err(HeadError::Ambiguous("more than one content-length"));
        }
        Ok(())
    }

    fn read_coding(&mut self, text: &[u8]) -> Result<(), HeadError> {
        if !text.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Coding);
        }
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HeadError::Ambiguous("more than one transfer-encoding"));
        }
        Ok(())
    }

    fn read_connection(&mut self, bytes: &[u8], text: &[u8]) -> bool {
        let mut upgrade = false;
        for token in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else if !token.is_empty() && !token.eq_ignore_ascii_case(b"te") {
                self.nominated.push(Span::of(bytes, token));
            }
        }
        upgrade
    }

    /// How a request's body is delimited.
    pub fn request_framing(&self) -> Framing {
        match self.length {
            _ if self.chunked => Framing::Chunked,
            Some(0) | None => Framing::None,
            Some(length) => Framing::Length(length),
        }
    }

    /// How a response's body is delimited, given the method it answers.
    pub fn response_framing(&self, method: &str) -> Framing {
        let status = self.status;
        if method == "HEAD" || status == 204 || status == 304 || (100..200).contains(&status) {
            return Framing::None;
        }
        match self.length {
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }

    /// Whether the connection stays open after the message.
    pub fn persistent(&self) -> bool {
        !self.close && (!self.http10 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests;
