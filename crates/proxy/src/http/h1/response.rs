//! A response's head as HTTP/1 brought it; its bytes stay in the connection's buffer.

use super::parse::Parts;
use crate::http::head::Headers;
use crate::record::ResponseHead;

/// A response's head.
pub struct H1Response<'b> {
    /// The bytes of the head.
    pub bytes: &'b [u8],
    /// Where its parts are.
    pub parts: &'b Parts,
}

impl Headers for H1Response<'_> {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.parts.headers {
            if let Ok(name) = std::str::from_utf8(&self.bytes[name.range()]) {
                f(name, &self.bytes[value.range()]);
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        ResponseHead::header(self, name).is_some()
    }
}

impl ResponseHead for H1Response<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.parts.headers.iter().find(|(n, _)| self.bytes[n.range()] == *name.as_bytes());
        found.map(|(_, value)| &self.bytes[value.range()])
    }
}
