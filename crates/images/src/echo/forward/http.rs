//! HTTP calls, with the redirects that they may follow.

use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{
    connect::{Connected, chain, connect, connect_to},
    plan::Plan,
};
use crate::{echo::lines::Lines, http_text};

/// The largest answer, and the most redirects that one call follows.
const LARGEST: usize = 32 << 20;
const MOST_REDIRECTS: usize = 10;

/// Connections that are free.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Sender>>);

impl Pool {
    fn take(&self) -> Option<Sender> {
        let mut free = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        free.retain(|sender| !sender.is_closed());
        match free.last()? {
            // Many requests at once fit on one connection.
            Sender::H2(shared) => Some(Sender::H2(shared.clone())),
            Sender::H1(_) => free.pop(),
        }
    }

    fn put(&self, sender: Sender) {
        let mut free = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = matches!(sender, Sender::H2(_)) && !free.is_empty();
        if !known {
            free.push(sender);
        }
    }
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Sender::H1(sender) => sender.is_closed(),
            Sender::H2(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, String> {
        let sent = match self {
            Sender::H1(sender) => {
                sender.ready().await.map_err(|error| chain(&error))?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => sender.send_request(request).await,
        };
        sent.map_err(|error| chain(&error))
    }
}

/// One request: where it goes, and as whom.
struct Step {
    url: Uri,
    authority: String,
    method: Method,
}

pub(super) async fn call(plan: &Plan, pool: &Pool, id: usize, lines: &mut Lines) -> Result<(), String> {
    let mut step = Step { url: plan.url.clone(), authority: plan.authority.clone(), method: plan.method.clone() };
    let mut sender = match pool.take() {
        Some(sender) => sender,
        None => open(plan, connect(plan).await?).await?,
    };
    lines.headers("Header", &plan.headers);
    for redirects in 0.. {
        let (head, body) = exchange(plan, &mut sender, &step).await?;
        let next = redirect(&head, &step).filter(|_| plan.follow_redirects);
        let Some(next) = next else {
            if plan.reuse && redirects == 0 {
                pool.put(sender);
            }
            tell(id, lines, &head, &body);
            return Ok(());
        };
        if redirects == MOST_REDIRECTS {
            return Err(format!("stopped after {MOST_REDIRECTS} redirects"));
        }
        step = next;
        let host = step.url.host().unwrap_or(&plan.host);
        let port = step.url.port_u16().unwrap_or(if plan.tls.is_some() { 443 } else { 80 });
        sender = open(plan, connect_to(plan, host, port, host).await?).await?;
    }
    Ok(())
}

async fn open(plan: &Plan, connected: Connected) -> Result<Sender, String> {
    let http2 = match &connected.alpn {
        Some(chosen) => chosen == b"h2",
        None => plan.http2,
    };
    let stream = TokioIo::new(connected.stream);
    if http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(|error| chain(&error))?;
        tokio::spawn(connection);
        return Ok(Sender::H2(sender));
    }
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| chain(&error))?;
    tokio::spawn(connection);
    Ok(Sender::H1(sender))
}

async fn exchange(plan: &Plan, sender: &mut Sender, step: &Step) -> Result<(response::Parts, Bytes), String> {
    let response = sender.send(request(plan, step, matches!(sender, Sender::H2(_)))?).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
    Ok((head, body.to_bytes()))
}

fn request(plan: &Plan, step: &Step, http2: bool) -> Result<Request<Full<Bytes>>, String> {
    let path = step.url.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    let builder = Request::builder().method(step.method.clone());
    let builder = match http2 {
        true => builder.uri(format!("{scheme}://{}{path}", step.authority)),
        false => builder.uri(path).header(header::HOST, &step.authority),
    };
    let mut request = builder.body(Full::new(Bytes::from(plan.message.clone()))).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("lateen-echo"));
    for name in plan.headers.keys() {
        headers.remove(name);
    }
    headers.extend(plan.headers.clone());
    Ok(request)
}

/// Where a response sends its client.
fn redirect(head: &response::Parts, step: &Step) -> Option<Step> {
    let keeps_method = matches!(head.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !keeps_method && !matches!(head.status.as_u16(), 301..=303) {
        return None;
    }
    let location: Uri = text(&head.headers, header::LOCATION)?.parse().ok()?;
    let authority = location.authority().map_or_else(|| step.authority.clone(), ToString::to_string);
    let url = match location.authority() {
        Some(_) => location,
        None => Uri::builder()
            .scheme(step.url.scheme_str()?)
            .authority(step.url.authority()?.as_str())
            .path_and_query(location.path_and_query()?.as_str())
            .build()
            .ok()?,
    };
    Some(Step { url, authority, method: if keeps_method { step.method.clone() } else { Method::GET } })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn tell(id: usize, lines: &mut Lines, head: &response::Parts, body: &[u8]) {
    lines.field("StatusCode", head.status.as_u16());
    lines.field("Protocol", http_text::protocol(head.version));
    lines.headers("ResponseHeader", &head.headers);
    lines.body(id, &String::from_utf8_lossy(body));
}
