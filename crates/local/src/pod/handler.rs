//! What probes and lifecycle hooks do: an HTTP request, a connection, a command, a gRPC call.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use crate::container::exec::{self, ExecSpec};
use crate::container::spec::Process;

/// More of an answer is not read.
const MAX_ANSWER: usize = 10 << 10;

/// A port of a container, by number or by name.
pub(crate) fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => name.parse().ok().or_else(|| {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
        }),
    };
    let found = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    found.ok_or_else(|| match port {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("couldn't find port: {name}"),
    })
}

/// Opens a connection and closes it.
pub(crate) async fn tcp(host: &str, port: u16) -> Result<(), String> {
    connect(host, port).await.map(drop)
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|e| {
        let reason = if e.kind() == std::io::ErrorKind::ConnectionRefused {
            "connection refused".to_owned()
        } else {
            e.to_string()
        };
        format!("dial tcp {host}:{port}: connect: {reason}")
    })
}

/// Sends a GET request; fine is any status from 200 to 399.
pub(crate) async fn http(
    container: &Container,
    action: &HTTPGetAction,
    pod: &str,
    agent: &'static str,
) -> Result<(), String> {
    let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod);
    let port = port(container, &action.port)?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let url = format!("http://{host}:{port}{path}");
    if action.scheme.as_deref() == Some("HTTPS") {
        // Without a certificate to check there is little more to learn than that it listens.
        return tcp(host, port).await;
    }
    let failed = |e: String| format!("Get {url:?}: {e}");
    let stream = connect(host, port).await.map_err(failed)?;
    let mut request = Request::get(path.parse::<Uri>().map_err(|e| failed(e.to_string()))?)
        .header("host", format!("{host}:{port}"))
        .header("user-agent", agent)
        .header("accept", "*/*")
        .header("connection", "close");
    for header in action.http_headers.iter().flatten() {
        if header.name.eq_ignore_ascii_case("host") {
            request.headers_mut().map(|headers| headers.remove("host"));
        }
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Full::<Bytes>::default()).map_err(|e| failed(e.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer.map_err(|e| failed(e.to_string()))?.status().as_u16();
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
}

/// Asks the standard gRPC health service.
pub(crate) async fn grpc(host: &str, port: u16, service: &str) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("error: health rpc failed: {e}");
    let stream = connect(host, port).await?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(health_request(service)))
        .map_err(|e| failed(&e))?;
    let result = async {
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| failed(&e))?;
        let code = body.trailers().and_then(|t| t.get("grpc-status")).map(|v| v.as_bytes().to_vec());
        if code.is_some_and(|code| code != b"0") {
            return Err(failed(&"the service does not know the health check"));
        }
        if serving(&body.to_bytes()) {
            Ok(())
        } else {
            Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned())
        }
    }
    .await;
    connection.abort();
    result
}

/// `HealthCheckRequest` in its gRPC frame.
fn health_request(service: &str) -> Bytes {
    let name = &service.as_bytes()[..service.len().min(127)];
    let mut message = BytesMut::new();
    if !name.is_empty() {
        message.put_u8(0x0a);
        message.put_u8(u8::try_from(name.len()).unwrap_or(0));
        message.put_slice(name);
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.unsplit(message);
    frame.freeze()
}

/// Whether a framed `HealthCheckResponse` says SERVING: field 1 is 1.
fn serving(frame: &[u8]) -> bool {
    frame.get(5..7) == Some(&[0x08, 0x01])
}

/// Runs a command in a container; fine is exit code 0.
pub(crate) async fn exec(
    container: i32,
    environment: &Process,
    command: &[String],
    timeout: Duration,
) -> Result<(), String> {
    let process = Process { argv: command.to_vec(), ..environment.clone() };
    let spec = ExecSpec { container, process, tty: false, size: None, streams: [false, true, true] };
    let run = async {
        let (out, stdout) = std::io::pipe().map_err(|e| e.to_string())?;
        let stderr = stdout.try_clone().map_err(|e| e.to_string())?;
        let mut running = exec::start(spec, vec![stdout.into(), stderr.into()]).await?;
        let reader = pipe::Receiver::from_owned_fd(out.into()).map_err(|e| e.to_string())?;
        let said = head_of(reader).await;
        let status = running.child.wait().await.map_err(|e| e.to_string())?;
        Ok::<_, String>((status, said))
    };
    match tokio::time::timeout(timeout, run).await {
        Err(_) => Err(format!("command timed out: {command:?} timed out after {timeout:?}")),
        Ok(Err(reason)) => Err(reason),
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((_, said))) => Err(String::from_utf8_lossy(&said).trim_end().to_owned()),
    }
}

/// The beginning of what somebody writes, once all is written: a pipe that closes early would end the writer.
async fn head_of(mut writer: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut head = Vec::new();
    let _ = (&mut writer).take(MAX_ANSWER as u64).read_to_end(&mut head).await;
    let _ = tokio::io::copy(&mut writer, &mut tokio::io::sink()).await;
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_command_may_say_more_than_is_kept() {
        let (mut command, output) = tokio::io::duplex(1024);
        let all_said = tokio::spawn(async move { command.write_all(&[b'x'; 5 * MAX_ANSWER]).await });
        assert_eq!(head_of(output).await, [b'x'; MAX_ANSWER]);
        all_said.await.unwrap().unwrap();
    }

    #[test]
    fn ports_are_found_by_number_or_name() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]})).unwrap();
        for (value, expect) in [
            (IntOrString::Int(80), Ok(80)),
            (IntOrString::String("web".into()), Ok(8080)),
            (IntOrString::String("81".into()), Ok(81)),
            (IntOrString::String("no".into()), Err("couldn't find port: no".to_owned())),
            (IntOrString::Int(0), Err("invalid port number: 0".to_owned())),
        ] {
            assert_eq!(port(&container, &value), expect);
        }
    }

    #[test]
    fn the_health_check_names_its_service() {
        assert_eq!(&health_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&health_request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert!(serving(&[0, 0, 0, 0, 2, 8, 1]));
        assert!(!serving(&[0, 0, 0, 0, 2, 8, 2]));
    }
}
