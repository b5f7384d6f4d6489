//! Kubernetes and Istio objects, parsed into the narrow types that translation needs.
