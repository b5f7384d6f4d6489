//! Admission webhooks over real TLS.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use lateen_apiserver::gvr;
use rcgen::KeyPair;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::cluster::Cluster;

/// A webhook that answers every review by `answer(request)`.
async fn hook(answer: fn(&Value) -> Value) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = Vec::new();
            let request = loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
                if let Ok(review) = serde_json::from_str::<Value>(body) {
                    break review["request"].clone();
                }
            };
            let mut response = answer(&request);
            response["uid"] = request["uid"].clone();
            let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
            let body = body.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    (port, STANDARD.encode(certificate.pem()))
}

fn configuration(kind: &str, port: u16, bundle: &str, policy: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": "hooks"}, "webhooks": [{
        "name": "one.hooks.example", "clientConfig": {"url": format!("https://localhost:{port}/admit"), "caBundle": bundle},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
        "failurePolicy": policy, "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutating_webhook_changes_objects_of_selected_namespaces() {
    let cluster = Cluster::start().await;
    let (port, bundle) = hook(|request| {
        let patch = json!([{"op": "add", "path": "/data", "value": {"by": request["userInfo"]["username"]}}]);
        json!({"allowed": true, "warnings": ["mind the gap"], "patchType": "JSONPatch",
               "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
    let hooks = configuration("MutatingWebhookConfiguration", port, &bundle, "Fail");
    cluster.client.create(&gvr::MUTATING_WEBHOOKS, "", hooks).await.unwrap();
    cluster.output("create configmap before").await;
    cluster.output("label ns default hooked=yes").await;
    let said = cluster.kubectl("create configmap after").await;
    assert!(said.err.contains("Warning: mind the gap"), "{}", said.err);
    assert_eq!(cluster.output("get cm after -o jsonpath={.data.by}").await, "kubernetes-admin");
    assert_eq!(cluster.output("get cm before -o jsonpath={.data}").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validating_webhook_refuses_and_its_absence_is_told() {
    let cluster = Cluster::start().await;
    cluster.output("label ns default hooked=yes").await;
    let (port, bundle) = hook(|_| json!({"allowed": false, "status": {"message": "not today"}})).await;
    let hooks = configuration("ValidatingWebhookConfiguration", port, &bundle, "Fail");
    cluster.client.create(&gvr::VALIDATING_WEBHOOKS, "", hooks.clone()).await.unwrap();
    let said = cluster.kubectl("create configmap c").await;
    assert!(said.err.contains("admission webhook \"one.hooks.example\" denied the request: not today"), "{}", said.err);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let absent = configuration("ValidatingWebhookConfiguration", unused, &bundle, "Fail");
    cluster.client.update(&gvr::VALIDATING_WEBHOOKS, "", absent).await.unwrap();
    let said = cluster.kubectl("create configmap c").await;
    let expected =
        "Internal error occurred: failed calling webhook \"one.hooks.example\": failed to call webhook: Post";
    assert!(said.err.contains(expected), "{}", said.err);
    let ignored = configuration("ValidatingWebhookConfiguration", unused, &bundle, "Ignore");
    cluster.client.update(&gvr::VALIDATING_WEBHOOKS, "", ignored).await.unwrap();
    cluster.output("create configmap c").await;
}
