//! One URL: connect, ask, follow, receive.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connect,
    failure::Failure,
    options::{HttpVersion, Options},
    output::{self, Output, note},
    request::{self, Redirected},
    tls,
    url::Url,
    write_out::Report,
};

/// curl's own limit on redirects.
const REDIRECTS: u32 = 50;
/// The connection window of HTTP/2.
const WINDOW: u32 = 1 << 20;

/// How a transfer went.
pub(super) struct Outcome {
    pub report: Report,
    pub failure: Option<Failure>,
}

/// Transfers the URL at `index` of the command line.
pub(super) async fn transfer(options: &Options, url: &str, index: usize) -> Outcome {
    let started = Instant::now();
    let mut report = Report { url: url.to_owned(), ..Report::default() };
    let whole = follow(options, url, index, started, &mut report);
    let failure = match options.max_time {
        None => whole.await.err(),
        Some(limit) => match tokio::time::timeout(limit, whole).await {
            Ok(done) => done.err(),
            Err(_) => Some(out_of_time(started.elapsed(), report.size_download)),
        },
    };
    report.total = started.elapsed();
    Outcome { report, failure }
}

fn out_of_time(after: Duration, received: u64) -> Failure {
    Failure::Timeout(format!(
        "Operation timed out after {} milliseconds with {received} bytes received",
        after.as_millis()
    ))
}

async fn follow(
    options: &Options,
    text: &str,
    index: usize,
    started: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut url = Url::parse(text, options.path_as_is)?;
    let mut redirected = Redirected::default();
    let mut output = Output::open(options, &url, index)?;
    loop {
        report.effective_url = url.to_string();
        report.scheme = url.scheme();
        let mut exchange = exchange(options, &url, &redirected, started, report).await?;
        let status = exchange.response.status().as_u16();
        let lines = output::head_lines(&exchange.response);
        let failing = status >= 400 && options.fail;
        if failing {
            return Err(Failure::Http(status));
        }
        output::show_head(options, &lines, &mut output)?;
        let next = next_url(&url, &exchange.response)?;
        report.redirect_url = next.as_ref().map(Url::to_string).unwrap_or_default();
        let Some(next) = next.filter(|_| options.follow) else {
            receive(options, &mut exchange, &mut output, report).await?;
            note(options, format_args!("Connection #0 to host {} left intact", url.host));
            return if status >= 400 && options.fail_with_body { Err(Failure::Http(status)) } else { Ok(()) };
        };
        let limit = options.max_redirects.unwrap_or(REDIRECTS);
        if report.redirects >= limit {
            return Err(Failure::Redirects(limit));
        }
        report.redirects += 1;
        report.redirect_time = started.elapsed();
        redirected.elsewhere |= next.host != url.host || next.port != url.port;
        redirected.as_get |= matches!(status, 301..=303) && options.data.is_some();
        note(options, format_args!("Issue another request to this URL: '{next}'"));
        url = next;
    }
}

fn next_url(url: &Url, response: &Response<Incoming>) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    location.map(|location| url.join(location)).transpose()
}

/// A response whose body may still be arriving; the connection lives as long.
struct Exchange {
    response: Response<Incoming>,
    _connection: Connection,
}

/// A task that drives a connection and ends with this value.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    options: &Options,
    url: &Url,
    redirected: &Redirected,
    started: Instant,
    report: &mut Report,
) -> Result<Exchange, Failure> {
    let connected = connect::connect(options, url, started).await?;
    report.connects += 1;
    report.remote = Some(connected.remote);
    report.local = connected.stream.local_addr().ok();
    report.name_lookup = connected.resolved_after;
    report.connect = connected.connected_after;
    let prior = options.http == HttpVersion::Http2PriorKnowledge;
    let exchange = if url.tls {
        let stream = tls::handshake(options, &url.host, connected.stream).await?;
        report.app_connect = started.elapsed();
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        ask(options, url, redirected, stream, http2 || prior, started, report).await
    } else {
        ask(options, url, redirected, connected.stream, prior, started, report).await
    }?;
    report.start_transfer = started.elapsed();
    report.status = exchange.response.status().as_u16();
    report.version = match exchange.response.version() {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    report.headers = exchange.response.headers().clone();
    Ok(exchange)
}

async fn ask<S>(
    options: &Options,
    url: &Url,
    redirected: &Redirected,
    stream: S,
    http2: bool,
    started: Instant,
    report: &mut Report,
) -> Result<Exchange, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request::build(options, url, http2, redirected)?;
    report.method = request.method().to_string();
    report.size_upload = request.body().size_hint().exact().unwrap_or(0);
    output::show_request(options, &request);
    report.pre_transfer = started.elapsed();
    let answered = if http2 { ask_http2(stream, request).await } else { ask_http1(stream, request).await };
    answered.map_err(|error| before_answer(&error))
}

async fn ask_http1<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Exchange>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
    let driver = Connection(tokio::spawn(async move {
        // What went wrong is told to whoever waits for the response.
        let _ = connection.await;
    }));
    Ok(Exchange { response: sender.send_request(request).await?, _connection: driver })
}

async fn ask_http2<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Exchange>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = Connection(tokio::spawn(async move {
        let _ = connection.await;
    }));
    Ok(Exchange { response: sender.send_request(request).await?, _connection: driver })
}

async fn receive(
    options: &Options,
    exchange: &mut Exchange,
    output: &mut Output,
    report: &mut Report,
) -> Result<(), Failure> {
    if options.head {
        return Ok(());
    }
    let expected = exchange.response.body().size_hint().exact();
    while let Some(frame) = exchange.response.body_mut().frame().await {
        let frame = frame.map_err(|error| in_body(&error, expected, report.size_download))?;
        if let Ok(chunk) = frame.into_data() {
            report.size_download += chunk.len() as u64;
            output::write_chunk(output, &chunk)?;
        }
    }
    Ok(())
}

/// The operating system's error under hyper's.
fn cause(error: &hyper::Error) -> Option<&std::io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref::<std::io::Error>() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

fn before_answer(error: &hyper::Error) -> Failure {
    if error.is_parse() {
        return Failure::Weird("Received HTTP/0.9 when not allowed".into());
    }
    match cause(error) {
        Some(io) if io.kind() == std::io::ErrorKind::BrokenPipe => Failure::Send(connect::plain(io)),
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => Failure::Empty,
        Some(io) => Failure::Receive(connect::plain(io)),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => Failure::Empty,
        None => Failure::Http2(format!("Error in the HTTP2 framing layer: {error}")),
    }
}

fn in_body(error: &hyper::Error, expected: Option<u64>, received: u64) -> Failure {
    match (cause(error), expected) {
        (Some(io), _) if io.kind() != std::io::ErrorKind::UnexpectedEof => Failure::Receive(connect::plain(io)),
        (_, Some(expected)) => {
            Failure::Partial(format!("end of response with {} bytes missing", expected.saturating_sub(received)))
        }
        _ => Failure::Partial("transfer closed with outstanding read data remaining".into()),
    }
}
