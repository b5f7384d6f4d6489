//! The server's HTTP face: TLS, authentication, routing.

mod accept;
mod body;
mod discovery;
mod finish;
mod health;
mod impersonation;
mod metrics;
mod openapi;
mod openapi_v2;
mod path;
mod proxy;
mod query;
mod resource;
mod respond;
mod watch;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::json;

use crate::{
    auth::{Action, User},
    engine::Engine,
    status::Status,
};
pub use accept::serve;
#[cfg(test)]
pub(crate) use body::parse as parse_body;
use finish::Accepted;
use metrics::Metrics;
use path::Path;
pub(crate) use query::percent_decode;

/// A request with what is known about its sender.
pub(crate) struct Incoming {
    pub user: Arc<User>,
    pub request: Request<Body>,
}

/// Answers one request.
async fn handle(
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    certificate: Option<Arc<User>>,
    request: Request<Body>,
) -> Response<Body> {
    let counted = metrics.begin(&engine, &request);
    let accepted = Accepted::of(request.headers());
    let result = match authenticate(&engine, certificate, &request) {
        Ok(user) => route(engine, &metrics, Incoming { user, request }).await,
        Err(status) => Err(status),
    };
    let response = result.unwrap_or_else(|status| respond::status(&status));
    counted.end(response.status().as_u16());
    finish::finish(accepted, response).await
}

/// Who sent the request: the owner of the connection's certificate, else of the bearer token,
/// else nobody in particular; or whom that one asks to act as.
fn authenticate(engine: &Engine, certificate: Option<Arc<User>>, request: &Request<Body>) -> Result<Arc<User>, Status> {
    let user = match certificate {
        Some(user) => user,
        None => Arc::new(by_token(engine, request.headers())?),
    };
    let other = impersonation::impersonate(&engine.rbac, &user, request.headers())?;
    Ok(other.map_or(user, Arc::new))
}

fn by_token(engine: &Engine, headers: &HeaderMap) -> Result<User, Status> {
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some(token) = token.map(|(_, token)| token.trim()).filter(|token| !token.is_empty()) else {
        return Ok(User::anonymous());
    };
    match engine.authenticate(token, &[]) {
        Ok((user, _)) => Ok(user),
        Err(error) => {
            tracing::debug!(%error, "bearer token refused");
            Err(Status::unauthorized())
        }
    }
}

async fn route(engine: Arc<Engine>, metrics: &Metrics, incoming: Incoming) -> Result<Response<Body>, Status> {
    let text = incoming.request.uri().path().to_owned();
    let query = query::Query::parse(incoming.request.uri().query().unwrap_or_default());
    match Path::parse(&text)? {
        Path::Resource(target) => resource::serve(engine, incoming, target, query).await,
        Path::Other => {
            authorize_path(&engine, &incoming, &text)?;
            if !matches!(*incoming.request.method(), Method::GET | Method::HEAD) {
                return Err(Status::method_not_allowed());
            }
            other(&engine, metrics, &incoming, &text)
        }
    }
}

fn authorize_path(engine: &Engine, incoming: &Incoming, path: &str) -> Result<(), Status> {
    let verb = incoming.request.method().as_str().to_ascii_lowercase();
    let action = Action { verb: &verb, path, ..Action::default() };
    engine.rbac.check(&incoming.user, &action)
}

fn other(engine: &Engine, metrics: &Metrics, incoming: &Incoming, path: &str) -> Result<Response<Body>, Status> {
    let accept = respond::accept(&incoming.request);
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    Ok(match parts.as_slice() {
        [] => respond::json(StatusCode::OK, &json!({"paths": discovery::paths(engine)})),
        ["healthz" | "livez" | "readyz", ..] => health::answer(&parts, incoming.request.uri().query())?,
        ["metrics"] => {
            respond::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.text(engine).into())
        }
        ["version"] => respond::json(StatusCode::OK, &discovery::version()),
        ["api"] => discovery::core_versions(engine, &accept),
        ["apis"] => discovery::groups(engine, &accept),
        ["api", "v1"] => discovery::resources(engine, "", "v1")?,
        ["apis", group] => discovery::group(engine, group)?,
        ["apis", group, version] => discovery::resources(engine, group, version)?,
        ["openapi", "v2"] => openapi_v2::document(engine, &accept),
        ["openapi", "v3"] => openapi::index(engine),
        ["openapi", "v3", "api", "v1"] => openapi::document(engine, "", "v1")?,
        ["openapi", "v3", "apis", group, version] => openapi::document(engine, group, version)?,
        [".well-known", "openid-configuration"] => {
            let issuer = engine.tokens.issuer();
            respond::json(
                StatusCode::OK,
                &json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{issuer}/openid/v1/jwks"),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                }),
            )
        }
        ["openid", "v1", "jwks"] => respond::json(StatusCode::OK, &engine.tokens.jwks()),
        _ => return Err(Status::no_such_resource()),
    })
}
