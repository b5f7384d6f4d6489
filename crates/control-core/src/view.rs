//! What translation knows about the proxy it works for.
