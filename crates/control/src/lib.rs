//! istiod's shell: watches Kubernetes, serves discovery, signs certificates, answers webhooks.

pub mod access;
pub mod admin;
pub mod ads;
pub mod auth;
pub mod ca;
pub mod config;
pub mod gateways;
mod keys;
mod leader;
pub mod listener;
mod mesh;
pub mod metrics;
mod pages;
pub mod push;
pub mod root_cert;
mod run;
pub mod source;
pub mod state;
pub mod status;
pub mod tls;
pub mod webhook;

pub use config::Config;
pub use run::{Callers, Istiod, Servers, run, serve};
