//! How fast and how small the API server is, as its clients see it: `make bench-api`. Prints figures; judges nothing.
//!
//! The server is the one of `target/release/lateen`; this program speaks plain HTTP/1.1 over TLS to it, since a whole
//! client would take more of the machine than the server does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use lateen_testkit::cluster::{Cluster, User};
use lateen_testkit::processes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const WRITERS: usize = 64;
const WATCHERS: usize = 1_000;
const CHANGES: usize = 20;
const MAPS: &str = "/api/v1/namespaces/kube-public/configmaps";

fn main() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let server = Server::of(&cluster)?;
    println!("resident, with the mesh's own objects  {:>8.1} MiB", server.resident()?);
    let (seconds, busy) = server.timed(|| write(&server))?;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let count = OBJECTS as f64;
    println!("objects written, durably, per second   {:>8.0}     ({WRITERS} writers; goal 2000)", count / seconds);
    println!("server's processor time for a write    {:>8.2} ms", busy / count * 1e3);
    println!("resident, with {OBJECTS} objects more     {:>8.1} MiB (goal 60)", server.resident()?);
    let started = Instant::now();
    let mut connection = server.connect()?;
    let list = connection.ask("GET", MAPS, "")?;
    println!("list of {OBJECTS} objects               {:>8.0} ms", started.elapsed().as_secs_f64() * 1e3);
    ensure!(list.len() > OBJECTS * 100, "the list is too short");
    fan_out(&server)?;
    println!("resident, with {WATCHERS} watchers          {:>8.1} MiB", server.resident()?);
    Ok(())
}

/// The API server of a cluster.
struct Server {
    address: String,
    config: Arc<ClientConfig>,
    pid: u32,
}

impl Server {
    fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let kubectl = cluster.kubectl();
        let config: Value =
            serde_json::from_str(&kubectl.run(&["config", "view", "--raw", "--minify", "-o", "json"])?)?;
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).context("kubeconfig");
        let pem = |pointer: &str| -> anyhow::Result<Vec<u8>> { Ok(STANDARD.decode(text(pointer)?)?) };
        let user = "/users/0/user";
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&pem("/clusters/0/cluster/certificate-authority-data")?) {
            roots.add(root?)?;
        }
        let certificate = pem(&format!("{user}/client-certificate-data"))?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{user}/client-key-data"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let address = text("/clusters/0/cluster/server")?.trim_start_matches("https://").to_owned();
        let node = processes::of_mesh(cluster.home())?.into_iter().find(|p| p.command.contains("sandbox-node"));
        Ok(Self { address, config: Arc::new(config), pid: node.context("the process of the API server")?.pid })
    }

    fn connect(&self) -> anyhow::Result<Connection> {
        let socket = TcpStream::connect(&self.address)?;
        socket.set_nodelay(true)?;
        let name = ServerName::from(socket.peer_addr()?.ip());
        let tls = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(Connection { stream: BufReader::new(StreamOwned::new(tls, socket)) })
    }

    /// MiB of its whole process: API server, controllers, node agent, Services.
    fn resident(&self) -> anyhow::Result<f64> {
        processes::resident(self.pid)
    }

    /// Seconds that something takes, and seconds of processor time that the server spends meanwhile.
    fn timed(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<(f64, f64)> {
        let (before, started) = (processes::cpu(self.pid)?, Instant::now());
        work()?;
        Ok((started.elapsed().as_secs_f64(), processes::cpu(self.pid)? - before))
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection that stays open from request to request.
struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    fn send(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: figures\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
            body.len(),
        );
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        Ok(stream.flush()?)
    }

    /// The head of the answer: the length of its body, if it says one.
    fn head(&mut self) -> anyhow::Result<Option<usize>> {
        let (mut line, mut length) = (String::new(), None);
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 20"), "the server said {line:?}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        Ok(length)
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Vec<u8>> {
        self.send(method, path, body)?;
        let length = self.head()?;
        let mut answer = Vec::new();
        if let Some(length) = length {
            answer.resize(length, 0);
            self.stream.read_exact(&mut answer)?;
            return Ok(answer);
        }
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16)?;
            let start = answer.len();
            answer.resize(start + size, 0);
            self.stream.read_exact(&mut answer[start..])?;
            self.stream.read_exact(&mut [0; 2])?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }
}

/// About what a small Deployment weighs.
fn object(number: usize) -> String {
    let labels = json!({"app": "bench", "shard": (number % 16).to_string()});
    let data = json!({"config.yaml": "key: value\n".repeat(60), "number": number.to_string()});
    json!({"metadata": {"name": format!("object-{number:05}"), "labels": labels}, "data": data}).to_string()
}

fn write(server: &Server) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let writers = (0..WRITERS).map(|writer| {
            scope.spawn(move || {
                let mut connection = server.connect()?;
                for number in (writer..OBJECTS).step_by(WRITERS) {
                    connection.ask("POST", MAPS, &object(number))?;
                }
                anyhow::Ok(())
            })
        });
        let writers: Vec<_> = writers.collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?)
    })
}

/// Until every watcher has seen every change.
fn fan_out(server: &Server) -> anyhow::Result<()> {
    let mut connection = server.connect()?;
    let list: Value = serde_json::from_slice(&connection.ask("GET", &format!("{MAPS}?limit=1"), "")?)?;
    let version = list["metadata"]["resourceVersion"].as_str().context("resourceVersion")?;
    let path = format!("{MAPS}?watch=true&resourceVersion={version}");
    let watches = (0..WATCHERS).map(|_| {
        let mut watch = server.connect()?;
        watch.send("GET", &path, "")?;
        anyhow::Ok(watch)
    });
    let watches = watches.collect::<anyhow::Result<Vec<_>>>()?;
    let (seconds, busy) = server.timed(|| {
        std::thread::scope(|scope| {
            let watchers: Vec<_> = watches.into_iter().map(|watch| scope.spawn(move || follow(watch))).collect();
            for number in 0..CHANGES {
                let change = json!({"data": {"number": format!("changed {number}")}}).to_string();
                connection.ask("PATCH", &format!("{MAPS}/object-{number:05}"), &change)?;
            }
            watchers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow::anyhow!("a watcher panicked"))?)
        })
    })?;
    println!("{CHANGES} changes seen by {WATCHERS} watchers      {:>8.2} s", seconds);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let events = (CHANGES * WATCHERS) as f64;
    println!("server's processor time for an event   {:>8.1} us", busy / events * 1e6);
    Ok(())
}

/// Reads a watch until it has shown all changes.
fn follow(mut watch: Connection) -> anyhow::Result<()> {
    watch.head()?;
    let mut seen = 0;
    while seen < CHANGES {
        let mut line = String::new();
        ensure!(watch.stream.read_line(&mut line)? > 0, "the watch ended after {seen} changes");
        seen += usize::from(line.starts_with("{\"type\":\"MODIFIED\""));
    }
    Ok(())
}
