//! ClusterIPs: connections to a Service's address reach one of its endpoints.

mod rules;
