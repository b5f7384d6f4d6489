//! The local cluster's controllers against a real API server.

mod controllers;
mod names;
mod workloads;
mod world;
