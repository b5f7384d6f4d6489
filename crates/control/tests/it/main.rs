//! istiod without Kubernetes: events in, discovery, certificates and webhooks out, over loopback.

mod admin;
mod certificates;
mod cluster;
mod discovery;
mod gateways;
mod istiod;
mod status;
mod webhooks;
