//! The nouns that control plane and proxy share: host name, port, protocol, labels, locality, identity, matchers.

pub mod cidr;
pub mod duration;
pub mod grpc;
pub mod host;
pub mod identity;
pub mod labels;
pub mod locality;
pub mod protocol;
pub mod string_match;
pub mod tls;

pub use cidr::Cidr;
pub use host::Hostname;
pub use identity::SpiffeId;
pub use locality::Locality;
pub use protocol::{Port, Protocol};
pub use string_match::StringMatch;
