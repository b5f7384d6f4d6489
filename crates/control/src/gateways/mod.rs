//! The Gateway API's objects: their statuses, and the deployments of gateways. What both should be is worked out with
//! everything else that istiod knows; here it is told to the board of statuses and applied to the cluster.

mod deploy;
mod report;

pub use deploy::deploy;
pub use report::report;
