//! Fixtures for tests that see Lateen as its users do: a real mesh, real `kubectl`, real traffic.

pub mod cluster;
pub mod conformance;
pub mod kubectl;
pub mod load;
pub mod processes;
pub mod simulation;
pub mod world;
