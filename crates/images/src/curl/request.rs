//! The request that the options and a URL make.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body_util::Full;

use super::{
    failure::Failure,
    options::{HttpVersion, Options},
    url::Url,
};

/// What a redirect changed about the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Redirected {
    /// The method is GET now, without data.
    pub as_get: bool,
    /// The host is another one: credentials stay behind.
    pub elsewhere: bool,
}

/// Builds the request for an HTTP/1 or HTTP/2 connection.
pub(super) fn build(
    options: &Options,
    url: &Url,
    http2: bool,
    redirected: &Redirected,
) -> Result<Request<Full<Bytes>>, Failure> {
    let data = options.data.clone().filter(|_| !redirected.as_get && !options.data_in_url);
    let target = match &options.data {
        Some(data) if options.data_in_url && !redirected.as_get => with_query(&url.target, data),
        _ => url.target.clone(),
    };
    let method = method(options, data.is_some(), redirected)?;
    let headers = headers(options, url, data.is_some(), redirected)?;
    let uri = if http2 { format!("{}://{}{target}", url.scheme(), url.authority()) } else { target };
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Full::new(Bytes::from(data.unwrap_or_default())))
        .map_err(|_| Failure::Url("Malformed input to a URL function".into()))?;
    *request.version_mut() = match (http2, options.http) {
        (true, _) => Version::HTTP_2,
        (false, HttpVersion::Http10) => Version::HTTP_10,
        (false, _) => Version::HTTP_11,
    };
    *request.headers_mut() = headers;
    if http2 {
        move_host(&mut request);
    }
    Ok(request)
}

/// In HTTP/2 a custom `Host` is the `:authority`.
fn move_host(request: &mut Request<Full<Bytes>>) {
    let Some(host) = request.headers_mut().remove(header::HOST) else {
        return;
    };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = host.to_str().ok().and_then(|host| host.parse().ok()).or(parts.authority);
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn method(options: &Options, data: bool, redirected: &Redirected) -> Result<Method, Failure> {
    let name = match &options.method {
        Some(name) => name.as_str(),
        None if options.head => "HEAD",
        None if data && !redirected.as_get => "POST",
        None => "GET",
    };
    Method::from_bytes(name.as_bytes()).map_err(|_| Failure::Usage(format!("{name:?} can't be a method")))
}

fn headers(options: &Options, url: &Url, data: bool, redirected: &Redirected) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| -> Result<(), Failure> {
        let value = HeaderValue::from_str(value).map_err(|_| Failure::Usage(format!("bad value for {name}")))?;
        headers.insert(name, value);
        Ok(())
    };
    set(header::HOST, &url.authority())?;
    if !redirected.elsewhere {
        let from_url = url
            .user
            .as_ref()
            .and_then(|user| Options { user: Some(user.clone()), ..Options::default() }.authorization());
        if let Some(authorization) = options.authorization().or(from_url) {
            set(header::AUTHORIZATION, &authorization)?;
        }
    }
    set(header::USER_AGENT, options.agent.as_deref().unwrap_or("curl/8.14.1"))?;
    set(header::ACCEPT, if options.json { "application/json" } else { "*/*" })?;
    if let Some(referer) = &options.referer {
        set(header::REFERER, referer)?;
    }
    if let Some(cookie) = &options.cookie {
        set(header::COOKIE, cookie)?;
    }
    if data && let Some(kind) = options.data_type {
        set(header::CONTENT_TYPE, kind)?;
    }
    custom(options, &mut headers, redirected)?;
    Ok(headers)
}

/// `-H`: sets or adds a header; `Name:` removes it, `Name;` sends it empty.
fn custom(options: &Options, headers: &mut HeaderMap, redirected: &Redirected) -> Result<(), Failure> {
    let mut fresh: Vec<HeaderName> = Vec::new();
    for line in &options.headers {
        let bad = || Failure::Usage(format!("{line:?} is not a header; write Name: value"));
        let (name, value) = match line.split_once(':') {
            Some((name, value)) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
            None => (line.strip_suffix(';').ok_or_else(bad)?, Some("")),
        };
        let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
        if redirected.elsewhere && (name == header::AUTHORIZATION || name == header::COOKIE || name == header::HOST) {
            continue;
        }
        if !fresh.contains(&name) {
            headers.remove(&name);
            fresh.push(name.clone());
        }
        if let Some(value) = value {
            headers.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
        }
    }
    Ok(())
}

fn with_query(target: &str, data: &[u8]) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{}", String::from_utf8_lossy(data))
}
