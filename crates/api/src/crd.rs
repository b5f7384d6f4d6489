//! CustomResourceDefinitions of Istio's resources, built from the serde types.

mod kinds;
mod schema;

pub use kinds::istio_crds;
