//! The admission webhooks: inject pods, validate configuration.

mod bundle;
mod injector;
mod review;
mod validator;

pub use bundle::keep_registered;
pub use injector::{Injection, InjectorMaps};

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

use crate::metrics::Metrics;

/// An API server's largest object is half of this.
const MAX_REVIEW_BYTES: usize = 6 << 20;

/// The webhooks' HTTP paths.
pub fn router(injection: Arc<Injection>, metrics: Arc<Metrics>) -> Router {
    let inject = Router::new()
        .route("/inject", post(injector::handle))
        .route("/inject/{*path}", post(injector::handle))
        .with_state((injection, metrics.clone()));
    let validate = Router::new().route("/validate", post(validator::handle)).with_state(metrics);
    inject.merge(validate).layer(DefaultBodyLimit::max(MAX_REVIEW_BYTES))
}
