//! The serving end.

mod body;
mod message;
mod session;
mod subscription;
mod transport;

pub use message::{Entry, Names, Request, Response};
pub use session::{Catalog, Event, LimitExceeded, Limits, Session, TypeStatus};
pub use transport::{Ads, AdsServer, RequestStream, ResponseStream};
