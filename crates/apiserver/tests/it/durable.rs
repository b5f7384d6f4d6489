//! What was acknowledged survives `kill -9`.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use lateen_apiserver::{Config, Server, gvr};
use serde_json::json;
use tempfile::TempDir;

const HOME: &str = "LATEEN_TEST_STATE";

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
async fn writer() {
    let Ok(home) = std::env::var(HOME) else { return };
    let server = Server::open(Config::new(home)).await.unwrap();
    let client = server.client();
    for number in 0.. {
        let name = format!("map-{number}");
        client.create(&gvr::CONFIG_MAPS, "default", json!({"metadata": {"name": name}})).await.unwrap();
        println!("wrote {name}");
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let home = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durable::writer", "--nocapture"])
        .env(HOME, home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut written = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some((_, name)) = line.unwrap().split_once("wrote ") {
            written.push(name.to_owned());
        }
        if written.len() == 50 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(written.len() >= 50);
    let server = Server::open(Config::new(home.path())).await.unwrap();
    for name in written {
        server.client().get(&gvr::CONFIG_MAPS, "default", &name).await.unwrap();
    }
}
