//! What was acknowledged survives `kill -9`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lateen_apiserver::{Client, Config, DeleteOptions, Server, gvr};
use serde_json::{Value, json};
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
    let mut child = start("durable::writer", home.path());
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

fn start(test: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const WRITERS: usize = 12;
const OBJECTS: usize = 3;

/// Not a test by itself: the process that the next test kills. Says what it tries and what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn storm() {
    let Ok(home) = std::env::var(HOME) else { return };
    let server = Server::open(Config::new(home)).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let client = server.client();
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("map-{writer}-{}", number % OBJECTS);
                write_or_remove(&client, &name, number).await;
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// Every fifth write removes the object; the others give it a number, in three places.
async fn write_or_remove(client: &Client, name: &str, number: usize) {
    let there = client.get(&gvr::CONFIG_MAPS, "default", name).await.is_ok();
    if there && fastrand::usize(..5) == 0 {
        println!("{name} tries gone");
        client.delete(&gvr::CONFIG_MAPS, "default", name, &DeleteOptions::default()).await.unwrap();
        println!("{name} has gone");
        return;
    }
    let value = format!("{number}-{:08x}", fastrand::u32(..));
    let data = json!({"first": value, "middle": value.repeat(100), "last": value});
    let object = json!({"metadata": {"name": name}, "data": data});
    println!("{name} tries {value}");
    let done = if there {
        client.update(&gvr::CONFIG_MAPS, "default", object).await
    } else {
        client.create(&gvr::CONFIG_MAPS, "default", object).await
    };
    done.unwrap();
    println!("{name} has {value}");
}

/// What an object may be: what was acknowledged last, or what was tried after that.
type Allowed = BTreeMap<String, Vec<String>>;

fn note(allowed: &mut Allowed, line: &str) {
    let mut words = line.rsplit(' ');
    let (Some(value), Some(verb), Some(name)) = (words.next(), words.next(), words.next()) else { return };
    match verb {
        "tries" => allowed.entry(name.to_owned()).or_insert_with(|| vec!["gone".into()]).push(value.to_owned()),
        "has" => drop(allowed.insert(name.to_owned(), vec![value.to_owned()])),
        _ => {}
    }
}

async fn opened(home: &Path) -> Server {
    // The file is free once the killed process has been buried.
    loop {
        match Server::open(Config::new(home)).await {
            Ok(server) => return server,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn state(object: Option<&Value>) -> String {
    let Some(data) = object.map(|object| &object["data"]) else { return "gone".into() };
    let value = data["first"].as_str().unwrap();
    assert_eq!(
        (data["last"].as_str(), data["middle"].as_str()),
        (Some(value), Some(&*value.repeat(100))),
        "half written"
    );
    value.to_owned()
}

#[tokio::test]
async fn storms_that_end_in_a_kill_lose_nothing_and_leave_nothing_half_done() {
    let home = TempDir::new().unwrap();
    let mut allowed = Allowed::new();
    let mut acknowledged = 0;
    for _ in 0..6 {
        let mut child = start("durable::storm", home.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 20 + fastrand::usize(..400);
        for line in lines.by_ref() {
            let line = line.unwrap();
            note(&mut allowed, &line);
            acknowledged += usize::from(line.contains(" has "));
            left -= usize::from(left > 0 && line.contains(" has "));
            if left == 0 {
                break;
            }
        }
        child.kill().unwrap();
        // What it said before it died counts too.
        lines.for_each(|line| note(&mut allowed, &line.unwrap()));
        child.wait().unwrap();
        let server = opened(home.path()).await;
        let list = server.client().list(&gvr::CONFIG_MAPS, Some("default")).await.unwrap();
        let there: BTreeMap<&str, &Value> =
            list.items.iter().map(|object| (object["metadata"]["name"].as_str().unwrap(), &**object)).collect();
        for (name, states) in &mut allowed {
            let found = state(there.get(name.as_str()).copied());
            assert!(states.contains(&found), "{name} is {found}, not one of {states:?}");
            *states = vec![found];
        }
        assert!(there.keys().all(|name| allowed.contains_key(*name)), "nothing comes from nowhere");
    }
    assert!(acknowledged >= 120, "{acknowledged} writes are no storm");
}
