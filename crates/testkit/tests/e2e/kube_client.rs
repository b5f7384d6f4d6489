//! The Rust client `kube`, as controllers use it: typed objects, watches, patches and streams.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{
    Api, AttachParams, AttachedProcess, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{conditions::is_pod_running, wait::await_condition, watcher};
use kube::{Client, Config, ResourceExt};
use lateen_testkit::cluster::{Cluster, User};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn kube_client() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = client(&cluster.home().join("kubeconfig")).await?;
        objects(&client).await.context("objects")?;
        let pods: Api<Pod> = Api::default_namespaced(client);
        start_pods(&pods).await.context("pods")?;
        exec(&pods).await.context("exec")?;
        attach(&pods).await.context("attach")?;
        logs(&pods).await.context("logs")?;
        port_forward(&pods).await.context("port-forward")
    })
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn typed<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}

async fn objects(client: &Client) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for name in ["one", "two"] {
        let labels = json!({"test": "kube"});
        let map = typed(json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}))?;
        maps.create(&PostParams::default(), &map).await?;
    }
    let page = maps.list(&ListParams::default().labels("test=kube").limit(1)).await?;
    ensure!(page.items.len() == 1 && page.metadata.remaining_item_count == Some(1), "{:?}", page.metadata);
    let next = page.metadata.continue_.context("another page")?;
    let page = maps.list(&ListParams::default().labels("test=kube").limit(1).continue_token(&next)).await?;
    ensure!(page.items[0].name_any() == "two" && page.metadata.continue_.is_none_or(|token| token.is_empty()));

    // Lists and then watches, in the old way and in the new one.
    let selected = watcher::Config::default().labels("test=kube");
    let mut old = pin!(watcher::watcher(maps.clone(), selected.clone()));
    let mut new = pin!(watcher::watcher(maps.clone(), selected.streaming_lists()));
    ensure!(initial(&mut old).await? == ["one", "two"] && initial(&mut new).await? == ["one", "two"]);

    let apply = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"mine": value}});
    let me = PatchParams::apply("me");
    maps.patch("one", &me, &Patch::Apply(apply("1"))).await?;
    let refused = maps.patch("one", &PatchParams::apply("you"), &Patch::Apply(apply("2"))).await;
    let refused = refused.err().context("another manager's field is taken without force")?;
    ensure!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    maps.patch("one", &PatchParams::apply("you").force(), &Patch::Apply(apply("2"))).await?;
    maps.patch("two", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": null, "c": "d"}}))).await?;
    maps.patch("two", &PatchParams::default(), &Patch::Strategic(json!({"data": {"e": "f"}}))).await?;
    let two = maps.get("two").await?.data.unwrap_or_default();
    ensure!(two.into_iter().collect::<Vec<_>>() == [("c".into(), "d".into()), ("e".into(), "f".into())]);
    maps.delete("two", &DeleteParams::default()).await?;
    for watch in [&mut old, &mut new] {
        let mut seen = Vec::new();
        while seen.last() != Some(&"-two".to_owned()) {
            seen.push(match timeout(LIMIT, watch.try_next()).await??.context("the watch goes on")? {
                watcher::Event::Apply(map) => format!("+{}", map.name_any()),
                watcher::Event::Delete(map) => format!("-{}", map.name_any()),
                other => format!("{other:?}"),
            });
        }
        ensure!(seen == ["+one", "+one", "+two", "+two", "-two"], "{seen:?}");
    }
    Ok(())
}

/// What a watch begins with.
async fn initial(
    watch: &mut (impl futures::Stream<Item = watcher::Result<watcher::Event<ConfigMap>>> + Unpin),
) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    loop {
        match timeout(LIMIT, watch.try_next()).await??.context("the watch goes on")? {
            watcher::Event::InitApply(map) => names.push(map.name_any()),
            watcher::Event::InitDone => return Ok(names),
            _ => {}
        }
    }
}

async fn start_pods(pods: &Api<Pod>) -> anyhow::Result<()> {
    let reader = "while read line; do echo \"<$line>\"; done";
    let ticks = "i=0; while sleep 0.1; do i=$((i+1)); echo tick $i; done";
    // An amount written as a number comes back as the text that typed clients expect.
    let resources = json!({"requests": {"cpu": 0.1}});
    let pod = json!({"metadata": {"name": "pod"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "reader", "image": "curlimages/curl", "stdin": true, "command": ["sh", "-c", reader]},
        {"name": "ticks", "image": "curlimages/curl", "command": ["sh", "-c", ticks]},
        {"name": "web", "image": "hashicorp/http-echo", "args": ["-text=hello", "-listen=:5678"]},
    ]}});
    let mut raw = pod.clone();
    raw["spec"]["containers"][0]["resources"] = resources;
    let raw =
        Patch::Apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": raw["metadata"], "spec": raw["spec"]}));
    let made = pods.patch("pod", &PatchParams::apply("me"), &raw).await?;
    let spec = made.spec.context("spec")?;
    let requests = spec.containers[0].resources.as_ref().and_then(|r| r.requests.as_ref()).context("requests")?;
    ensure!(requests["cpu"].0 == "100m", "{requests:?}");
    timeout(LIMIT, await_condition(pods.clone(), "pod", is_pod_running())).await??;
    Ok(())
}

async fn everything(stream: Option<impl AsyncRead + Unpin>) -> anyhow::Result<String> {
    let mut text = String::new();
    timeout(LIMIT, stream.context("the stream")?.read_to_string(&mut text)).await??;
    Ok(text)
}

async fn status(process: &mut AttachedProcess) -> anyhow::Result<Status> {
    let status = process.take_status().context("status")?;
    timeout(LIMIT, status).await?.context("the connection ends with a status")
}

async fn exec(pods: &Api<Pod>) -> anyhow::Result<()> {
    let script = "read line; echo got $line; echo wrong >&2; exit 3";
    let options = AttachParams::default().container("reader").stdin(true);
    let mut process = pods.exec("pod", ["sh", "-c", script], &options).await?;
    process.stdin().context("stdin")?.write_all(b"hello\n").await?;
    let (out, err) = (process.stdout(), process.stderr());
    let ended = status(&mut process).await?;
    ensure!(everything(out).await? == "got hello\n" && everything(err).await? == "wrong\n");
    ensure!(ended.reason.as_deref() == Some("NonZeroExitCode"), "{ended:?}");
    let causes = ended.details.and_then(|details| details.causes).unwrap_or_default();
    ensure!(causes.iter().any(|cause| cause.message.as_deref() == Some("3")), "{causes:?}");

    let options = AttachParams::default().container("reader").stderr(false);
    let mut process = pods.exec("pod", ["head", "-c", "3000000", "/dev/zero"], &options).await?;
    let out = everything(process.stdout()).await?;
    ensure!(out.len() == 3_000_000, "{} bytes", out.len());
    ensure!(status(&mut process).await?.status.as_deref() == Some("Success"));

    let options = AttachParams::interactive_tty().container("reader");
    let mut process = pods.exec("pod", ["sh", "-c", "stty size; sleep 0.5; stty size"], &options).await?;
    let mut size = process.terminal_size().context("the terminal's size")?;
    futures::SinkExt::send(&mut size, kube::api::TerminalSize { width: 99, height: 33 }).await?;
    let shown = everything(process.stdout()).await?;
    ensure!(shown.lines().last().is_some_and(|line| line.trim() == "33 99"), "{shown:?}");

    let refused = pods.exec("pod", ["true"], &AttachParams::default().container("nosuch")).await;
    ensure!(refused.is_err(), "there is no such container");
    Ok(())
}

async fn attach(pods: &Api<Pod>) -> anyhow::Result<()> {
    let options = AttachParams::default().container("reader").stdin(true).stderr(false);
    let mut process = pods.attach("pod", &options).await?;
    process.stdin().context("stdin")?.write_all(b"one\n").await?;
    let mut out = process.stdout().context("stdout")?;
    let mut answer = [0; 6];
    timeout(LIMIT, out.read_exact(&mut answer)).await??;
    ensure!(&answer == b"<one>\n", "{answer:?}");
    process.abort();
    Ok(())
}

async fn logs(pods: &Api<Pod>) -> anyhow::Result<()> {
    let options = LogParams { container: Some("ticks".into()), follow: true, ..LogParams::default() };
    let lines = pods.log_stream("pod", &options).await?.lines().take(3);
    let lines: Vec<String> = timeout(LIMIT, lines.try_collect()).await??;
    ensure!(lines == ["tick 1", "tick 2", "tick 3"], "{lines:?}");
    let options = LogParams { container: Some("ticks".into()), tail_lines: Some(1), timestamps: true, ..options };
    let last = pods.logs("pod", &LogParams { follow: false, ..options }).await?;
    ensure!(last.lines().count() == 1 && last.contains("Z tick "), "{last}");
    Ok(())
}

async fn port_forward(pods: &Api<Pod>) -> anyhow::Result<()> {
    let mut forwarder = pods.portforward("pod", &[5678, 1]).await?;
    let mut stream = forwarder.take_stream(5678).context("stream")?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await?;
    let answer = everything(Some(stream)).await?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello\n"), "{answer}");
    let error = timeout(LIMIT, forwarder.take_error(1).context("error")?).await?;
    ensure!(error.as_deref().is_some_and(|text| text.contains("refused")), "nobody listens on port 1: {error:?}");
    Ok(())
}
