//! CustomResourceDefinitions of Istio's resources and the Gateway API's, built from the serde types.

mod kinds;
mod schema;

pub use kinds::{gateway_api_crds, istio_crds};
