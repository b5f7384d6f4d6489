//! `/healthz`, `/livez` and `/readyz`.

use axum::body::Body;
use http::{Response, StatusCode};

use super::{query::Query, respond};
use crate::status::Status;

/// What is looked at. A server that answers at all has opened its database and made its first objects.
const CHECKS: [&str; 3] = ["ping", "storage", "poststarthook/bootstrap"];

/// The answer to a path of one of the three, such as `/readyz` or `/livez/ping`.
pub fn answer(parts: &[&str], query: Option<&str>) -> Result<Response<Body>, Status> {
    let (endpoint, check) = parts.split_first().ok_or_else(Status::no_such_resource)?;
    let check = check.join("/");
    if !check.is_empty() && !CHECKS.contains(&check.as_str()) {
        return Err(Status::no_such_resource());
    }
    if !check.is_empty() || !Query::parse(query.unwrap_or_default()).flag("verbose") {
        return Ok(respond::text("ok"));
    }
    let lines: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
    let body = format!("{lines}{endpoint} check passed\n");
    Ok(respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", body.into()))
}
