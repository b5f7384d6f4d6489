//! The proxy's shell, from outside.

mod capture;
