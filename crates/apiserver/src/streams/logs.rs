//! `pods/log`: a container's output as the body of the response, line by line as it comes when
//! followed.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, header};
use serde_json::Value;

use super::query::{Query, container, log_options};
use crate::runtime::PodRuntime;
use crate::status::Status;

pub(super) async fn serve(pod: &Value, query: &Query, runtime: Arc<dyn PodRuntime>) -> Result<Response<Body>, Status> {
    let container = container(pod, query)?;
    let lines = runtime.logs(container, log_options(query)?).await?;
    let mut response = Response::new(Body::from_stream(lines));
    let text = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}
