//! Endpoints whose body is the point.

use std::{fmt::Write as _, time::Duration};

use base64::{
    Engine,
    engine::{DecodePaddingMode, general_purpose::GeneralPurpose, general_purpose::GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{DELAY_LIMIT, content, json as answer, order, received::Received, status};
use crate::serve::{self, Body};

/// The most bytes that `/bytes`, `/drip` and `/range` make.
const SIZE_LIMIT: usize = 100 * 1024;
/// The most lines that `/stream` makes.
const LINES_LIMIT: u32 = 100;

pub(super) async fn route(received: &Received, segments: &[&str]) -> Response<Body> {
    match segments {
        ["bytes", count] | ["stream-bytes", count] => random_bytes(received, count),
        ["stream", count] => stream(received, count),
        ["drip"] => drip(received).await,
        ["html"] => content("text/html; charset=utf-8", HTML),
        ["json"] => answer(&slideshow()),
        ["xml"] => content("application/xml", XML),
        ["robots.txt"] => content("text/plain", "User-agent: *\nDisallow: /deny\n"),
        ["deny"] => content("text/plain", "YOU SHOULDN'T BE HERE\n"),
        ["encoding", "utf8"] => content("text/html; charset=utf-8", "<h1>Unicode</h1>\n<p>∮ E⋅da = Q, ñ ü ✓</p>\n"),
        ["uuid"] => answer(&json!({ "uuid": uuid() })),
        ["base64", text] | ["base64", "decode", text] => decoded(text),
        _ => status(StatusCode::NOT_FOUND),
    }
}

/// The list of endpoints.
pub(super) fn index() -> Response<Body> {
    let mut page =
        String::from("<!DOCTYPE html>\n<html><head><title>httpbin</title></head><body><h1>httpbin</h1><ul>\n");
    for endpoint in ENDPOINTS {
        let _ = writeln!(page, "<li><code>{endpoint}</code></li>");
    }
    page.push_str("</ul></body></html>\n");
    content("text/html; charset=utf-8", page)
}

const ENDPOINTS: [&str; 28] = [
    "/get",
    "/post",
    "/put",
    "/patch",
    "/delete",
    "/anything",
    "/headers",
    "/ip",
    "/user-agent",
    "/hostname",
    "/status/{codes}",
    "/delay/{seconds}",
    "/response-headers",
    "/redirect/{n}",
    "/redirect-to",
    "/cookies",
    "/basic-auth/{user}/{password}",
    "/bearer",
    "/cache",
    "/etag/{etag}",
    "/bytes/{n}",
    "/stream/{n}",
    "/drip",
    "/html",
    "/json",
    "/xml",
    "/uuid",
    "/base64/{value}",
];

fn random_bytes(received: &Received, count: &str) -> Response<Body> {
    let Ok(count) = count.parse::<usize>() else {
        return status(StatusCode::BAD_REQUEST);
    };
    let mut random = received.number::<u64>("seed").map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut bytes = vec![0; count.min(SIZE_LIMIT)];
    random.fill(&mut bytes);
    content("application/octet-stream", bytes)
}

fn stream(received: &Received, count: &str) -> Response<Body> {
    let Ok(count) = count.parse::<u32>() else {
        return status(StatusCode::BAD_REQUEST);
    };
    let lines: Vec<String> = (0..count.min(LINES_LIMIT)).map(|id| order::stream_line(received, id)).collect();
    let (sender, body) = serve::streamed();
    tokio::spawn(async move {
        for line in lines {
            if sender.send(Bytes::from(line)).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `numbytes` stars, spread over `duration` seconds after `delay` seconds.
async fn drip(received: &Received) -> Response<Body> {
    let count = received.number::<usize>("numbytes").unwrap_or(10).clamp(1, SIZE_LIMIT);
    let seconds = |name: &str, default: f64| {
        let given = received.number::<f64>(name).filter(|given| given.is_finite());
        Duration::from_secs_f64(given.unwrap_or(default).clamp(0.0, DELAY_LIMIT))
    };
    let code = received.number::<u16>("code").and_then(|code| StatusCode::from_u16(code).ok());
    tokio::time::sleep(seconds("delay", 0.0)).await;
    let pause = seconds("duration", 2.0).div_f64(count as f64);
    let (sender, body) = serve::streamed();
    tokio::spawn(async move {
        for _ in 0..count {
            if sender.send(Bytes::from_static(b"*")).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let mut response = Response::new(body);
    *response.status_mut() = code.filter(|code| code.as_u16() >= 200).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    response
}

fn decoded(text: &str) -> Response<Body> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::URL_SAFE, config);
    let text = text.replace('+', "-").replace('/', "_");
    match engine.decode(text) {
        Ok(bytes) => content("text/html; charset=utf-8", bytes),
        Err(_) => content("text/html; charset=utf-8", "Incorrect Base64 data try: SFRUUEJJTiBpcyBhd2Vzb21l"),
    }
}

/// A random UUID (version 4).
fn uuid() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

fn slideshow() -> serde_json::Value {
    json!({ "slideshow": {
        "author": "Lateen",
        "date": "date of publication",
        "slides": [
            { "title": "Sails that turn with the wind", "type": "all" },
            { "title": "Overview", "type": "all", "items": ["Why a mesh", "Who needs one"] },
        ],
        "title": "Sample Slide Show",
    } })
}

const HTML: &str = "<!DOCTYPE html>\n<html><head><title>A page</title></head>\n\
    <body><h1>A page</h1><p>Some text, to see that it arrives.</p></body></html>\n";

const XML: &str = "<?xml version=\"1.0\" encoding=\"us-ascii\"?>\n<slideshow title=\"Sample Slide Show\">\n  \
    <slide type=\"all\"><title>Overview</title></slide>\n</slideshow>\n";
