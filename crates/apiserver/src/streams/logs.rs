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
    let name = container.container.clone();
    let options = log_options(query)?;
    let waiting = (!options.previous).then(|| waiting(pod, &name)).flatten();
    let lines = runtime.logs(container, options).await.map_err(|status| waiting.unwrap_or(status))?;
    let mut response = Response::new(Body::from_stream(lines));
    let text = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

/// Why a container that has not run yet has no log, in the kubelet's words.
fn waiting(pod: &Value, container: &str) -> Option<Status> {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container)?;
    let why = match status["state"]["waiting"]["reason"].as_str()? {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
    Some(Status::bad_request(format!("container {container:?} in pod {pod:?} is waiting to start: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_that_waits_says_why() {
        let pod = |reason: &str| {
            json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [
                {"name": "c", "state": {"waiting": {"reason": reason}}}]}})
        };
        let say = |reason| waiting(&pod(reason), "c").map(|status| status.message.clone()).unwrap();
        assert_eq!(say("ContainerCreating"), r#"container "c" in pod "p" is waiting to start: ContainerCreating"#);
        assert!(say("ErrImagePull").ends_with("image can't be pulled"));
        assert!(waiting(&json!({"status": {}}), "c").is_none());
    }
}
