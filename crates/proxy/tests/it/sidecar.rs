//! One proxy process with a control plane and an application.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use lateen_proxy::app;
use lateen_proxy::config::{Config, Environment, ProxyArgs};
use lateen_proxy::local_http::{Answer, get, post};
use lateen_proxy::logging::LogLevel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::istiod::{Istiod, Resources, TOKEN, put};
use crate::resources::{cluster, http_listener};

/// Ports that are free, below those that the kernel gives to others meanwhile; no two callers get the same.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 100;
    [(); N].map(|()| {
        let candidates = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed));
        let mut free = candidates.take(1000).filter(|port| StdListener::bind(local(*port)).is_ok());
        free.next().expect("a free port")
    })
}

/// The files and variables of a pod.
pub fn pod(root: &Path, istiod: &Istiod, ports: [u16; 4], more: &[(&str, String)]) -> Environment {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(path, text).expect("file");
    };
    write("var/run/secrets/tokens/istio-token", TOKEN);
    write("var/run/secrets/istio/root-cert.pem", &istiod.root_pem);
    write("etc/istio/pod/labels", "app=\"frontend\"\nversion=\"v1\"\n");
    std::fs::create_dir_all(root.join("etc/istio/proxy")).expect("directory");
    let [admin, status, ready, metrics] = ports;
    let address = format!("localhost:{}", istiod.address.port());
    let settings = serde_json::json!({
        "discoveryAddress": address,
        "proxyAdminPort": admin,
        "statusPort": status,
        "concurrency": 2,
        "terminationDrainDuration": "1s",
    });
    let base = [
        ("POD_NAME", "frontend-1".to_owned()),
        ("POD_NAMESPACE", "default".to_owned()),
        ("INSTANCE_IP", "127.0.0.1".to_owned()),
        ("SERVICE_ACCOUNT", "frontend".to_owned()),
        ("CA_ADDR", address),
        ("PROXY_CONFIG", settings.to_string()),
        ("ENVOY_STATUS_PORT", ready.to_string()),
        ("ENVOY_PROMETHEUS_PORT", metrics.to_string()),
    ];
    base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub async fn ask(port: u16, path: &str) -> Option<Answer> {
    get(local(port), None, path, HeaderMap::new(), 8 << 20, Duration::from_secs(5)).await.ok()
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Asks until the answer is good.
pub async fn eventually(port: u16, path: &str) -> Answer {
    let began = Instant::now();
    loop {
        let answer = ask(port, path).await;
        match answer {
            Some(answer) if answer.status.is_success() => return answer,
            other => assert!(began.elapsed() < Duration::from_secs(20), "{path}: {:?}", other.as_ref().map(text)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An application that answers every request with the same words.
pub async fn application(words: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{words}", words.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_becomes_ready_serves_and_ends() {
    let root = tempfile::tempdir().expect("directory");
    let app = application("hello from the application\n").await;
    let [admin, status, ready, metrics, http] = free_ports();
    let log = root.path().join("access.log");
    let mut resources = Resources::new();
    put(&mut resources, "outbound|80||app", &cluster("outbound|80||app", app));
    let listener = http_listener("web", local(http), "outbound|80||app", log.to_str().expect("path"));
    put(&mut resources, "web", &listener);
    let istiod = Istiod::start(resources).await;
    let probers = format!(
        r#"{{"/app-health/web/livez":{{"httpGet":{{"path":"/x","port":{0}}}}},"/app-health/web/readyz":{{"tcpSocket":{{"port":{0}}}}}}}"#,
        app.port()
    );
    let env = pod(root.path(), &istiod, [admin, status, ready, metrics], &[("ISTIO_KUBE_APP_PROBERS", probers)]);
    let args = ProxyArgs { role: "sidecar".to_owned(), ..ProxyArgs::default() };
    let config = Config::resolve(&args, &env, root.path()).expect("configuration");
    let process = std::thread::spawn(move || {
        let log = LogLevel::start(&config.logging);
        app::run_proxy(config, log)
    });

    eventually(ready, "/healthz/ready").await;
    let answer = eventually(http, "/hello").await;
    assert_eq!(text(&answer), "hello from the application\n");
    assert_eq!(istiod.nacks(), Vec::<String>::new());
    assert_eq!(istiod.signed(), 1);
    check_own_ports(admin, status, metrics).await;
    check_log(&log).await;

    let answer = post(local(admin), "/quitquitquit", Duration::from_secs(5)).await.expect("answer");
    assert!(answer.is_success());
    let ended = tokio::task::spawn_blocking(move || process.join()).await.expect("joined");
    ended.expect("no panic").expect("a proxy that is told to end does so without an error");
    assert!(ask(ready, "/healthz/ready").await.is_none(), "its ports are closed");
}

async fn check_own_ports(admin: u16, status: u16, metrics: u16) {
    let dump: serde_json::Value = serde_json::from_str(&text(&eventually(admin, "/config_dump").await)).expect("JSON");
    let configs = dump["configs"].as_array().expect("configs");
    let of =
        |kind: &str| configs.iter().find(|c| c["@type"].as_str().is_some_and(|t| t.ends_with(kind))).expect("kind");
    let listener = &of("ListenersConfigDump")["dynamic_listeners"][0]["active_state"]["listener"];
    assert_eq!(listener["name"], "web");
    let filter = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(filter["stat_prefix"], "test");
    assert_eq!(of("ClustersConfigDump")["dynamic_active_clusters"][0]["cluster"]["name"], "outbound|80||app");
    let certs = text(&eventually(admin, "/certs").await);
    assert!(certs.contains("spiffe://cluster.local/ns/default/sa/frontend") && !certs.contains("KEY"), "{certs}");
    assert!(text(&eventually(admin, "/clusters").await).contains("outbound|80||app::127.0.0.1:"));
    assert!(text(&eventually(metrics, "/stats/prometheus").await).contains("envoy_server_state 0"));
    assert!(text(&eventually(status, "/stats/prometheus").await).contains("istio_build"));
    eventually(status, "/app-health/web/livez").await;
    eventually(status, "/app-health/web/readyz").await;
    let unknown = ask(status, "/app-health/web/startupz").await.expect("answer");
    assert_eq!(unknown.status, http::StatusCode::NOT_FOUND);
    let refused = ask(admin, "/quitquitquit").await.expect("answer");
    assert_eq!(refused.status, http::StatusCode::METHOD_NOT_ALLOWED, "looking must not change anything");
}

async fn check_log(path: &Path) {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.contains("\"GET /hello HTTP/1.1\" 200 - via_upstream") && text.contains("outbound|80||app") {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "access log: {text:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
