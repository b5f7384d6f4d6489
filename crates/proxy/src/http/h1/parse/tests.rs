use super::*;

fn parse(text: &str) -> Result<Option<Parts>, HeadError> {
    request(&mut text.as_bytes().to_vec(), 100)
}

#[test]
fn framing_has_exactly_one_reading() {
    for (headers, expect) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::None),
        ("Content-Length: 12\r\n", Framing::Length(12)),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
    ] {
        let parts = parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).expect("valid").expect("whole");
        assert_eq!(parts.request_framing(), expect, "{headers:?}");
    }
}

#[test]
fn smuggling_is_refused() {
    for headers in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: \r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\r\n folded\r\n",
        "X: a\nY: b\r\n",
        "X: a\0b\r\n",
        "Host: b\r\n",
        "Bad Name: b\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        assert!(parse(&text).is_err(), "{headers:?}");
    }
    assert!(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    assert!(parse("GET / HTTP/1.1 \r\nHost: a\r\n\r\n").is_err());
    assert!(parse("GET / HTTP/1.1\nHost: a\n\n").is_err());
    assert_eq!(
        parse("GET / HTTP/1.0\n\n").err(),
        Some(HeadError::Http10),
        "the version is what such clients can change"
    );
}

#[test]
fn connection_options_are_read() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, X-Secret\r\nUpgrade: websocket\r\n\r\n";
    let mut bytes = text.as_bytes().to_vec();
    let parts = request(&mut bytes, 100).expect("valid").expect("whole");
    assert!(parts.persistent());
    assert_eq!(parts.upgrade.map(|span| &bytes[span.range()]), Some(&b"websocket"[..]));
    assert_eq!(parts.nominated.iter().map(|span| &bytes[span.range()]).collect::<Vec<_>>(), [b"X-Secret"]);
    let closing = parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("valid").expect("whole");
    assert!(!closing.persistent());
    let old = parse("GET / HTTP/1.0\r\n\r\n").expect("valid").expect("whole");
    assert!(!old.persistent());
}

#[test]
fn bodies_of_responses_depend_on_the_method_too() {
    let framing = |text: &str, method: &str| {
        let parts = response(&mut text.as_bytes().to_vec()).expect("valid").expect("whole");
        parts.response_framing(method)
    };
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "GET"), Framing::Length(3));
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD"), Framing::None);
    assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n", "GET"), Framing::None);
    assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", "GET"), Framing::UntilClose);
    assert_eq!(framing("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), Framing::Chunked);
}

#[test]
fn many_headers_are_read_up_to_the_limit() {
    let head = |count: usize| {
        let headers: String = (0..count).map(|i| format!("x-{i}: v\r\n")).collect();
        format!("GET / HTTP/1.1\r\n{headers}\r\n")
    };
    assert_eq!(parse(&head(99)).expect("valid").expect("whole").headers.len(), 99);
    assert_eq!(parse(&head(101)).err(), Some(HeadError::TooLarge));
}
