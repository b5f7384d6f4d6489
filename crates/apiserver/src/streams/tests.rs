//! The streams as the real `kubectl` uses them, with a runtime that runs no containers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Output, Stdio};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json};
use axum::routing::{any, get};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::*;
use crate::runtime::{ContainerRef, Duplex, Exit, LogOptions, LogStream, ProcessIo};

/// Runs `cat`, `fail`, `big` and `size`; logs three lines; port 7 echoes.
struct Fake;

impl PodRuntime for Fake {
    fn logs(&self, _: ContainerRef, options: LogOptions) -> BoxFuture<'_, Result<LogStream, Status>> {
        async move {
            let lines = if options.tail_lines == Some(1) { "three\n" } else { "one\ntwo\nthree\n" };
            let pieces = lines.split_inclusive('\n').map(|l| Ok(Bytes::from_static(l.as_bytes())));
            let stream = futures::stream::iter(pieces.collect::<Vec<_>>());
            Ok(if options.follow { stream.chain(futures::stream::pending()).boxed() } else { stream.boxed() })
        }
        .boxed()
    }

    fn exec(
        &self,
        _: ContainerRef,
        command: Vec<String>,
        _tty: bool,
        mut io: ProcessIo,
    ) -> BoxFuture<'_, Result<Exit, Status>> {
        async move {
            let mut out = io.stdout.take().unwrap();
            match command[0].as_str() {
                "cat" => {
                    let mut stdin = io.stdin.take().unwrap();
                    let copied = tokio::io::copy(&mut stdin, &mut out).await.unwrap();
                    Ok(Exit { code: i32::from(copied == 0) })
                }
                "big" => {
                    let block = [b'x'; 10_000];
                    for _ in 0..200 {
                        out.write_all(&block).await.unwrap();
                    }
                    Ok(Exit { code: 0 })
                }
                "fail" => {
                    io.stderr.take().unwrap().write_all(b"it failed\n").await.unwrap();
                    Ok(Exit { code: 42 })
                }
                other => Err(Status::bad_request(format!("no command {other:?}"))),
            }
        }
        .boxed()
    }

    fn attach(&self, _: ContainerRef, _tty: bool, mut io: ProcessIo) -> BoxFuture<'_, Result<Exit, Status>> {
        async move {
            io.stdout.take().unwrap().write_all(b"attached\n").await.unwrap();
            Ok(Exit { code: 0 })
        }
        .boxed()
    }

    fn port_forward(&self, _: ContainerRef, port: u16) -> BoxFuture<'_, Result<Pin<Box<dyn Duplex>>, Status>> {
        async move {
            if port != 7 {
                return Err(Status::unavailable("connection refused"));
            }
            let (near, far) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(far);
                tokio::io::copy(&mut read, &mut write).await
            });
            Ok(Box::pin(near) as _)
        }
        .boxed()
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "c", "stdin": true}]},
        "status": {"phase": "Running"},
    })
}

async fn stream(State(kind): State<PodStream>, request: Request<Body>) -> Response<Body> {
    match serve(kind, Arc::new(pod()), request, Arc::new(Fake)).await {
        Ok(response) => response,
        Err(status) => {
            let code = http::StatusCode::from_u16(status.code).unwrap();
            (code, Json(status.to_value())).into_response()
        }
    }
}

/// As much of an API server as kubectl needs to find one pod.
async fn server() -> SocketAddr {
    let resources = json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}]});
    let base = "/api/v1/namespaces/default/pods/p";
    let mut app = Router::new()
        .route("/api", get(Json(json!({"kind": "APIVersions", "versions": ["v1"]}))))
        .route("/apis", get(Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}))))
        .route("/api/v1", get(Json(resources)))
        .route(base, get(Json(pod())));
    for (path, kind) in [
        ("log", PodStream::Log),
        ("exec", PodStream::Exec),
        ("attach", PodStream::Attach),
        ("portforward", PodStream::PortForward),
    ] {
        app = app.route(&format!("{base}/{path}"), any(stream).with_state(kind));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Kubectl {
    home: tempfile::TempDir,
    server: SocketAddr,
    websockets: bool,
}

impl Kubectl {
    async fn new(websockets: bool) -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: server().await, websockets }
    }

    fn command(&self, args: &[&str]) -> Command {
        let websockets = if self.websockets { "true" } else { "false" };
        let mut command = Command::new("kubectl");
        command
            .arg(format!("--server=http://{}", self.server))
            .args(args)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("none"))
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    async fn pipe(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        tokio::spawn(async move { stdin.write_all(&input).await });
        child.wait_with_output().await.unwrap()
    }
}

#[track_caller]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_carries_output_errors_and_the_exit_code() {
    for websockets in [true, false] {
        let kubectl = Kubectl::new(websockets).await;
        let failed = kubectl.run(&["exec", "p", "--", "fail"]).await;
        let stderr = text(&failed.stderr);
        assert!(stderr.contains("it failed"), "{stderr}");
        assert!(stderr.contains("exit code 42"), "{stderr}");
        assert_eq!(failed.status.code(), Some(42));
        let unknown = kubectl.run(&["exec", "p", "--", "nope"]).await;
        assert!(text(&unknown.stderr).contains("no command \"nope\""), "{unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_carries_much_input_and_output() {
    for websockets in [true, false] {
        let kubectl = Kubectl::new(websockets).await;
        let big = kubectl.run(&["exec", "p", "--", "big"]).await;
        assert_eq!((big.stdout.len(), big.status.code()), (2_000_000, Some(0)), "{websockets}");
        let input = vec![b'y'; 1_000_000];
        let cat = kubectl.pipe(&["exec", "-i", "p", "--", "cat"], &input).await;
        assert_eq!((cat.stdout.len(), cat.status.code()), (input.len(), Some(0)), "{websockets}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_the_main_process() {
    for websockets in [true, false] {
        let kubectl = Kubectl::new(websockets).await;
        let attached = kubectl.run(&["attach", "p"]).await;
        assert!(text(&attached.stdout).contains("attached"), "{attached:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_whole_in_part_and_while_they_are_written() {
    let kubectl = Kubectl::new(true).await;
    assert_eq!(text(&kubectl.run(&["logs", "p"]).await.stdout), "one\ntwo\nthree\n");
    assert_eq!(text(&kubectl.run(&["logs", "p", "--tail=1"]).await.stdout), "three\n");
    let mut follow = kubectl.command(&["logs", "-f", "p"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = [0; 14];
    follow.stdout.take().unwrap().read_exact(&mut lines).await.unwrap();
    assert_eq!(text(&lines), "one\ntwo\nthree\n");
    let unknown = kubectl.run(&["logs", "p", "-c", "x"]).await;
    assert!(text(&unknown.stderr).contains("container x is not valid"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_ports_carry_several_connections_and_report_refusals() {
    for websockets in [true, false] {
        let kubectl = Kubectl::new(websockets).await;
        let mut forward = kubectl
            .command(&["port-forward", "p", ":7", ":8"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (echo, refused) = local_ports(&mut forward).await;
        let mut first = TcpStream::connect(echo).await.unwrap();
        let mut second = TcpStream::connect(echo).await.unwrap();
        for (connection, word) in [(&mut second, "second"), (&mut first, "first!")] {
            connection.write_all(word.as_bytes()).await.unwrap();
            let mut back = [0; 6];
            connection.read_exact(&mut back).await.unwrap();
            assert_eq!(text(&back), word);
        }
        let mut broken = TcpStream::connect(refused).await.unwrap();
        let _ = broken.write_all(b"x").await;
        let mut rest = Vec::new();
        let _ = broken.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        let mut errors = BufReader::new(forward.stderr.take().unwrap()).lines();
        loop {
            let line = errors.next_line().await.unwrap().expect("the refusal is reported");
            if line.contains("connection refused") {
                break;
            }
        }
    }
}

/// The local ends of ports 7 and 8, once kubectl listens there.
async fn local_ports(forward: &mut Child) -> (SocketAddr, SocketAddr) {
    let mut lines = BufReader::new(forward.stdout.as_mut().unwrap()).lines();
    let (mut echo, mut refused) = (None, None);
    loop {
        let line = lines.next_line().await.unwrap().expect("kubectl listens");
        let Some((address, port)) = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split_once(" -> "))
        else {
            continue;
        };
        let place = if port == "7" { &mut echo } else { &mut refused };
        place.get_or_insert(address.parse().unwrap());
        if let (Some(echo), Some(refused)) = (echo, refused) {
            return (echo, refused);
        }
    }
}
