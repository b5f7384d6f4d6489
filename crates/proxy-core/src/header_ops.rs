//! Adding, setting and removing headers.

use crate::format::Format;

/// What to do when the header is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// Add another value.
    Append,
    /// Leave it alone.
    IfAbsent,
    /// Replace it.
    Overwrite,
    /// Replace it; do nothing when it is missing.
    OverwriteIfPresent,
}

/// One header to write.
#[derive(Debug, Clone)]
pub struct HeaderWrite {
    /// Lower-case name.
    pub name: Box<str>,
    /// Value.
    pub value: Format,
    /// What to do when it is there already.
    pub append: Append,
    /// Write it even when its value is empty.
    pub keep_empty: bool,
}

/// What to change in the headers of one direction; removals come first.
#[derive(Debug, Clone, Default)]
pub struct HeaderOps {
    /// Lower-case names to remove.
    pub remove: Vec<Box<str>>,
    /// Headers to write, in order.
    pub write: Vec<HeaderWrite>,
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }
}

/// What to change on the way in and on the way back.
#[derive(Debug, Clone, Default)]
pub struct BothOps {
    /// In the request.
    pub request: HeaderOps,
    /// In the response.
    pub response: HeaderOps,
}

impl BothOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}
