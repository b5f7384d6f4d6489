//! Endpoints that ask for credentials. Names and passwords are part of the URL: they are no secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{Flavor, json as answer, received::Received, status};
use crate::serve::Body;

pub(super) fn basic(received: &Received, user: &str, password: &str, refusal: StatusCode) -> Response<Body> {
    let given = received
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok());
    if given.as_deref() == Some(format!("{user}:{password}").as_bytes()) {
        return answer(&match received.flavor {
            Flavor::Python => json!({ "authenticated": true, "user": user }),
            Flavor::Go => json!({ "authenticated": true, "authorized": true, "user": user }),
        });
    }
    refused(refusal, "Basic realm=\"Fake Realm\"")
}

pub(super) fn bearer(received: &Received) -> Response<Body> {
    match received.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) => answer(&json!({ "authenticated": true, "token": token })),
        None => refused(StatusCode::UNAUTHORIZED, "Bearer"),
    }
}

fn refused(code: StatusCode, challenge: &'static str) -> Response<Body> {
    let mut response = status(code);
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
