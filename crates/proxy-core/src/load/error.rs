//! Why a resource was refused.

use crate::format::FormatError;
use crate::pattern::PatternError;
use crate::virtual_host::DuplicateDomain;

/// Why a resource was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not the message they should be.
    #[error("{what} can't be decoded: {source}")]
    Decode {
        /// The message's name.
        what: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// A field has no sensible value.
    #[error("{0}")]
    Invalid(String),
    /// A feature that this proxy doesn't have.
    #[error("{0} is not supported by this proxy: remove it")]
    Unsupported(String),
    /// A bad regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A bad header value.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A domain claimed twice.
    #[error(transparent)]
    Duplicate(#[from] DuplicateDomain),
}

impl LoadError {
    /// A field that has no sensible value.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
