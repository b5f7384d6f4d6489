//! How fast and how small the API server is: `make bench-api`.
//!
//! Requests are made in process, so these are figures of the engine and the store, without TLS and HTTP.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use futures::future::try_join_all;
use lateen_apiserver::{Client, Config, PatchType, Server, gvr};
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const WRITERS: usize = 128;
const WATCHERS: usize = 1_000;
const CHANGES: usize = 100;

/// About what a small Deployment weighs.
fn object(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("object-{number:05}"), "labels": {"app": "bench", "shard": (number % 16).to_string()}},
        "data": {"config.yaml": "key: value\n".repeat(60), "number": number.to_string()},
    })
}

fn resident_kib() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("/proc/self/status has no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS has no number")?.parse()?)
}

fn mib(kib: usize) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

async fn write(client: &Client) -> anyhow::Result<f64> {
    let started = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in (writer..OBJECTS).step_by(WRITERS) {
                client.create(&gvr::CONFIG_MAPS, "default", object(number)).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in try_join_all(writers).await? {
        done?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds until every watcher has seen every change.
async fn fan_out(client: &Client) -> anyhow::Result<f64> {
    let since = client.list(&gvr::CONFIG_MAPS, Some("kube-public")).await?.version;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut watch = client.watch(&gvr::CONFIG_MAPS, Some("default"), since).await?;
        watchers.push(tokio::spawn(async move {
            for _ in 0..CHANGES {
                watch.next().await?;
            }
            anyhow::Ok(())
        }));
    }
    let started = Instant::now();
    for number in 0..CHANGES {
        let patch = json!({"data": {"number": format!("changed {number}")}});
        let name = format!("object-{number:05}");
        client.patch(&gvr::CONFIG_MAPS, "default", &name, PatchType::Merge, &patch, None).await?;
    }
    for done in try_join_all(watchers).await? {
        done?;
    }
    Ok(started.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let client = Server::open(Config::new(home.path())).await?.client();
    println!("resident, empty: {}", mib(resident_kib()?));
    let seconds = write(&client).await?;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let rate = OBJECTS as f64 / seconds;
    println!("writes, durable, {WRITERS} writers: {rate:.0} per second (goal 2000)");
    println!("resident, {OBJECTS} objects: {} (goal 60 MiB)", mib(resident_kib()?));
    let seconds = fan_out(&client).await?;
    println!("{CHANGES} changes to {WATCHERS} watchers: {seconds:.2} s");
    let started = Instant::now();
    let list = client.list(&gvr::CONFIG_MAPS, Some("default")).await?;
    println!("list of {} objects, decoded: {:.0} ms", list.items.len(), started.elapsed().as_secs_f64() * 1e3);
    let first: Arc<Value> = Arc::clone(list.items.first().context("the objects are there")?);
    println!("one object: {} bytes", first.to_string().len());
    Ok(())
}
