//! istiod on a real API server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use lateen_apiserver::Server;
use lateen_control::Config;
use lateen_control::config::Listen;
use lateen_control_core::install::{INJECTOR_WEBHOOK, InstallOptions, VALIDATOR_WEBHOOK, manifests};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An API server with Lateen installed.
pub struct Cluster {
    client: Client,
    _home: tempfile::TempDir,
    _server: tokio::task::JoinHandle<()>,
}

impl Cluster {
    /// An API server with Lateen installed, as `lateen up` does it.
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let home = tempfile::tempdir().unwrap();
        let server = Server::open(lateen_apiserver::Config::new(home.path())).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(&url)).unwrap();
        let serving = tokio::spawn(async move {
            server.serve(vec![listener]).await.unwrap();
        });
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let cluster = Cluster { client: config.try_into().unwrap(), _home: home, _server: serving };
        for object in lateen_api::crd::istio_crds()
            .into_iter()
            .chain(lateen_api::crd::gateway_api_crds())
            .chain(manifests(&InstallOptions::local("1.2.3")))
        {
            cluster.create(object).await;
        }
        cluster
    }

    pub fn api(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    pub async fn create(&self, object: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let api = self.api(&version, &kind, object["metadata"]["namespace"].as_str());
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        // Kinds that the local API server does not have are of no use there.
        match api.create(&Default::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => panic!("{kind}: {error:?}"),
        }
    }

    pub async fn istiod(&self) -> DropGuard {
        self.istiod_of_pod("istiod-0").await
    }

    pub async fn istiod_of_pod(&self, pod: &str) -> DropGuard {
        self.istiod_with(|config| config.pod_name = pod.to_owned())
    }

    pub fn istiod_with(&self, change: impl FnOnce(&mut Config)) -> DropGuard {
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let mut config = Config::resolve("1.2.3", |_| None);
        change(&mut config);
        config.listen = Listen { grpc: free, tls_grpc: free, webhook: free, monitoring: free, health: free };
        let shutdown = CancellationToken::new();
        let serving = lateen_control::serve(config, self.client.clone(), shutdown.clone());
        tokio::spawn(async move { serving.await.unwrap() });
        shutdown.drop_guard()
    }

    /// Waits until `path` in the object is as wanted; answers the value there.
    pub async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        path: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        for _ in 0..2000 {
            if let Ok(Some(object)) = api.get_opt(name).await {
                let value = serde_json::to_value(object).unwrap();
                if let Some(found) = value.pointer(path).filter(|value| wanted(value)) {
                    return found.clone();
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name}: {path} is not as it should be");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn istiod_sets_up_its_cluster() {
    let cluster = Arc::new(Cluster::start().await);
    let istiod = cluster.istiod().await;

    let secrets = cluster.api("v1", "Secret", Some("istio-system"));
    cluster.until(&secrets, "istio-ca-secret", "/data/ca-key.pem", Value::is_string).await;

    let maps = cluster.api("v1", "ConfigMap", Some("default"));
    let is_pem = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("-----BEGIN CERT"));
    let root = cluster.until(&maps, "istio-ca-root-cert", "/data/root-cert.pem", is_pem).await;

    for (kind, name, policy) in [
        ("MutatingWebhookConfiguration", INJECTOR_WEBHOOK, "Fail"),
        ("ValidatingWebhookConfiguration", VALIDATOR_WEBHOOK, "Fail"),
    ] {
        let api = cluster.api("admissionregistration.k8s.io/v1", kind, None);
        cluster.until(&api, name, "/webhooks/1/clientConfig/caBundle", Value::is_string).await;
        cluster.until(&api, name, "/webhooks/1/failurePolicy", |value| value == policy).await;
    }

    // A namespace that comes later gets the root; a new istiod keeps the CA.
    cluster
        .create(serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "late" } }))
        .await;
    let late = cluster.api("v1", "ConfigMap", Some("late"));
    cluster.until(&late, "istio-ca-root-cert", "/data/root-cert.pem", |value| *value == root).await;
    late.delete("istio-ca-root-cert", &Default::default()).await.unwrap();
    cluster.until(&late, "istio-ca-root-cert", "/data/root-cert.pem", |value| *value == root).await;
    drop(istiod);
    late.delete("istio-ca-root-cert", &Default::default()).await.unwrap();
    let _again = cluster.istiod().await;
    cluster.until(&late, "istio-ca-root-cert", "/data/root-cert.pem", |value| *value == root).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_judged_by_the_api_server() {
    use k8s_openapi::api::core::v1::ServiceAccount;
    use lateen_control::auth::{Authenticator as _, TokenReviewer};
    let cluster = Cluster::start().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "istio-system");
    let token = async |audience: &str| {
        let request = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": 3600 },
        });
        let made: Value = accounts.create_subresource("token", "istiod", &Default::default(), &request).await.unwrap();
        made["status"]["token"].as_str().unwrap().to_owned()
    };
    let reviewer = TokenReviewer::new(cluster.client.clone(), "example.org".into());
    let good = token("istio-ca").await;
    let identity = reviewer.authenticate(&good).await.unwrap();
    assert_eq!(identity.to_string(), "spiffe://example.org/ns/istio-system/sa/istiod");
    let mut forged = good.clone();
    forged.push('x');
    // A token of a pod is good for as long as the pod is there.
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "short", "namespace": "istio-system" },
        "spec": { "serviceAccountName": "istiod", "containers": [{ "name": "app", "image": "x" }] },
    });
    cluster.create(pod).await;
    let pods = cluster.api("v1", "Pod", Some("istio-system"));
    let uid = cluster.until(&pods, "short", "/metadata/uid", Value::is_string).await;
    let request = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": ["istio-ca"], "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": "short", "uid": uid } },
    });
    let made: Value = accounts.create_subresource("token", "istiod", &Default::default(), &request).await.unwrap();
    let of_pod = made["status"]["token"].as_str().unwrap().to_owned();
    reviewer.authenticate(&of_pod).await.unwrap();
    let at_once = kube::api::DeleteParams::default().grace_period(0);
    pods.delete("short", &at_once).await.unwrap();
    for bad in [forged, token("other").await, of_pod, String::new()] {
        let refused = reviewer.authenticate(&bad).await;
        assert!(matches!(refused, Err(lateen_control::auth::AuthError::Refused(_))), "{refused:?}");
    }
}

/// A CA as users plug it in, with keys of another kind than istiod's own.
fn cacerts() -> (Value, String) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384};
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let (root_key, ca_key) = (key(), key());
    let root_params = params("root");
    let root = root_params.self_signed(&root_key).unwrap().pem();
    let cert = params("ca").signed_by(&ca_key, &Issuer::from_params(&root_params, &root_key)).unwrap().pem();
    let files = serde_json::json!({
        "ca-cert.pem": cert, "ca-key.pem": ca_key.serialize_pem(), "cert-chain.pem": cert, "root-cert.pem": root,
    });
    (files, root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ca_follows_its_secrets() {
    use base64::Engine as _;
    let cluster = Cluster::start().await;
    let _istiod = cluster.istiod_with(|config| config.ca.announce = Duration::from_millis(500));
    let secrets = cluster.api("v1", "Secret", Some("istio-system"));
    let maps = cluster.api("v1", "ConfigMap", Some("default"));
    let trusted = async |wanted: &dyn Fn(&str) -> bool| {
        let wanted = |value: &Value| value.as_str().is_some_and(wanted);
        let text = cluster.until(&maps, "istio-ca-root-cert", "/data/root-cert.pem", wanted).await;
        text.as_str().unwrap().to_owned()
    };
    let roots = |text: &str| text.matches("BEGIN CERTIFICATE").count();
    let patch = async |name: &str, patch: Value| {
        secrets.patch(name, &Default::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    };

    let old = trusted(&|text| roots(text) == 1).await;
    patch("istio-ca-secret", serde_json::json!({ "metadata": { "annotations": { "lateen.dev/rotate-root": "now" } } }))
        .await;
    trusted(&|text| roots(text) == 2 && text.starts_with(&old)).await;
    let new = trusted(&|text| roots(text) == 2 && text.ends_with(&old)).await;
    let webhooks = cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None);
    let bundle = base64::engine::general_purpose::STANDARD.encode(&new);
    cluster.until(&webhooks, INJECTOR_WEBHOOK, "/webhooks/0/clientConfig/caBundle", |value| *value == bundle).await;

    // What can't be used changes nothing, until it is corrected.
    let (files, root) = cacerts();
    let mut bad = files.clone();
    bad["ca-key.pem"] = "junk".into();
    let metadata = serde_json::json!({ "name": "cacerts", "namespace": "istio-system" });
    cluster
        .create(serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": bad }))
        .await;
    maps.delete("istio-ca-root-cert", &Default::default()).await.unwrap();
    trusted(&|text| text == new).await;
    patch("cacerts", serde_json::json!({ "stringData": files })).await;
    let plugged = trusted(&|text| roots(text) == 3 && text.starts_with(&root)).await;
    let before = new.split_inclusive("-----END CERTIFICATE-----\n");
    assert!(
        before.clone().count() == 2 && before.into_iter().all(|root| plugged.contains(root)),
        "still good: {plugged}"
    );
}
