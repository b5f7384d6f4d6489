//! The mesh as its users meet it: `lateen up`, the real `kubectl`, real interception, real traffic.
//! Run as root with `--test-threads=1`: every test starts a mesh of its own, some of them as an unprivileged user.

mod answers;
mod assistant;
mod authentication;
mod authorization;
mod conformance;
mod dns;
mod docs;
mod dual_stack;
mod faults;
mod gateways;
mod guide;
mod interop;
mod isolation;
mod kube_client;
mod kubectl;
mod leaks;
mod locality;
mod mini_mesh;
mod outside;
mod rbac;
mod rotation;
mod services;
mod storm;
mod unprivileged;
mod validation;
mod workloads;
