//! The local cluster: sandbox, node agent, controllers, Services and DNS.

pub mod clock;
pub mod controllers;
pub mod dns;
pub mod events;
pub mod services;
