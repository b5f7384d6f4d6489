use super::{
    options::{HttpVersion, Parsed, Target},
    url::Url,
    *,
};

fn options(line: &str) -> Options {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match options::parse(&words) {
        Ok(Parsed::Transfer(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn short_options_combine_and_take_their_values_attached_or_apart() {
    let parsed = options("-sSLo /dev/null -w%{http_code} -XPUT -Hx-a:1 -H x-b:2 http://backend/");
    assert!(parsed.silent && parsed.show_error && parsed.follow);
    assert_eq!(parsed.outputs, [Target::File("/dev/null".into())]);
    assert_eq!(parsed.write_out.as_deref(), Some("%{http_code}"));
    assert_eq!(parsed.method.as_deref(), Some("PUT"));
    assert_eq!(parsed.headers, ["x-a:1", "x-b:2"]);
    assert_eq!(parsed.urls, ["http://backend/"]);
}

#[test]
fn data_is_joined_and_long_options_are_known() {
    let parsed = options("http://x -d a=1 --data-raw @b --max-time 0.5 --http2-prior-knowledge --no-silent");
    assert_eq!(parsed.data.as_deref(), Some(&b"a=1&@b"[..]));
    assert_eq!(parsed.max_time, Some(Duration::from_millis(500)));
    assert_eq!(parsed.http, HttpVersion::Http2PriorKnowledge);
    assert_eq!(options("http://x --data-urlencode name=a+b").data.as_deref(), Some(&b"name=a%2Bb"[..]));
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    for (line, word) in [
        ("", "no URL"),
        ("--what http://x", "--what"),
        ("-Q http://x", "-Q"),
        ("http://x -m", "requires parameter"),
        ("http://x -m soon", "numerical"),
    ] {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let failure = options::parse(&words).unwrap_err();
        assert!(failure.code() == 2 && failure.text().contains(word), "{line}: {}", failure.text());
    }
}

#[test]
fn urls_are_read_as_curl_reads_them() {
    for (text, expected) in [
        ("backend", "http://backend/"),
        ("backend:8080/a?b#c", "http://backend:8080/a?b"),
        ("HTTPS://User@Host:443/x", "https://host/x"),
        ("http://[::1]:81", "http://[::1]:81/"),
        ("http://x?q=1", "http://x/?q=1"),
        ("http://x/a/./b/../c", "http://x/a/c"),
        ("http://x/../..", "http://x/"),
    ] {
        assert_eq!(Url::parse(text, false).unwrap().to_string(), expected, "{text}");
    }
    assert_eq!(Url::parse("http://x/a/../b", true).unwrap().target, "/a/../b");
    for (text, code) in [("ftp://x", 1), ("http://", 3), ("http://x:y/", 3), ("http://a b/", 3), ("", 3)] {
        assert_eq!(Url::parse(text, false).unwrap_err().code(), code, "{text}");
    }
}

#[test]
fn locations_are_relative_to_the_url() {
    let url = Url::parse("http://host:81/a/b?q", false).unwrap();
    for (location, expected) in [
        ("/x", "http://host:81/x"),
        ("c", "http://host:81/a/c"),
        ("../c?d", "http://host:81/c?d"),
        ("?z", "http://host:81/a/b?z"),
        ("//other/y", "http://other/y"),
        ("https://other/y", "https://other/y"),
    ] {
        assert_eq!(url.join(location).unwrap().to_string(), expected, "{location}");
    }
}

#[test]
fn headers_can_be_replaced_repeated_and_removed() {
    let parsed = options("http://h:1 -d x -H host:other -H accept: -H a:1 -H a:2 -H empty; -u me:pw");
    let url = Url::parse(&parsed.urls[0], false).unwrap();
    let request = request::build(&parsed, &url, false, &request::Redirected::default()).unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["host"], "other");
    assert_eq!(request.headers()["authorization"], "Basic bWU6cHc=");
    assert_eq!(request.headers()["empty"], "");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert!(request.headers().get("accept").is_none());
    assert_eq!(request.headers().get_all("a").iter().count(), 2);

    let elsewhere = request::Redirected { as_get: true, elsewhere: true };
    let request = request::build(&parsed, &url, true, &elsewhere).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.uri(), "http://h:1/");
    assert!(request.headers().get("authorization").is_none());
}

/// A server that answers each connection with fixed bytes, then closes it.
async fn server(answer: &'static [u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer).await;
        }
    });
    format!("http://{address}/")
}

async fn outcome(flags: &str, url: &str) -> transfer::Outcome {
    transfer::transfer(&options(&format!("{flags} -o /dev/null {url}")), url, 0).await
}

#[tokio::test]
async fn what_goes_wrong_has_curls_exit_code() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let slow = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let kept = listener.accept().await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(kept);
        });
        url
    };
    for (flags, url, code) in [
        ("", closed, 7),
        ("", "http://does-not-exist.invalid/".into(), 6),
        ("-m 0.05", slow, 28),
        ("", server(b"").await, 52),
        ("-f", server(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await, 22),
        ("--fail-with-body", server(b"HTTP/1.1 500 Oops\r\ncontent-length: 1\r\n\r\nx").await, 22),
        ("", server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await, 18),
        ("-L --max-redirs 2", server(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await, 47),
        ("", server(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await, 0),
    ] {
        let failure = outcome(flags, &url).await.failure;
        assert_eq!(failure.as_ref().map_or(0, Failure::code), code, "{flags} {url}: {failure:?}");
    }
}

#[tokio::test]
async fn a_transfer_reports_what_it_saw() {
    let url = server(b"HTTP/1.1 200 OK\r\nx-pod: one\r\ncontent-length: 3\r\n\r\nabc").await;
    let outcome = outcome("-d hello", &url).await;
    assert_eq!(outcome.failure, None);
    let report = outcome.report;
    assert_eq!((report.status, report.version, report.method.as_str()), (200, "1.1", "POST"));
    assert_eq!((report.size_download, report.size_upload), (3, 5));
    assert_eq!(report.headers["x-pod"], "one");
}
