//! What the client in the mesh sees.

use lateen_testkit::kubectl::Kubectl;

/// An answer as `curl` shows it.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub body: String,
}

/// Asks `url` from the client pod.
pub fn ask(kubectl: &Kubectl, url: &str) -> anyhow::Result<Answer> {
    ask_with(kubectl, url, &[])
}

/// Asks `url` from the client pod with further arguments for `curl`.
pub fn ask_with(kubectl: &Kubectl, url: &str, further: &[&str]) -> anyhow::Result<Answer> {
    let command = [&["curl", "-s", "-m", "10", "-w", "\n%{http_code}", url], further].concat();
    let text = kubectl.exec("deploy/curl", &command)?;
    let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim()));
    Ok(Answer { status: status.to_owned(), body: body.trim_end().to_owned() })
}

/// A client to ask from: a Deployment `curl` with an account of its own.
pub fn client(namespace: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: curl, namespace: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: curl, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: curl}}}}
  template:
    metadata: {{labels: {{app: curl}}}}
    spec:
      serviceAccountName: curl
      terminationGracePeriodSeconds: 0
      containers: [{{name: curl, image: curlimages/curl, command: [sleep, infinity]}}]
---
"#
    )
}
