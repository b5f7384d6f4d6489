//! The server and its clients over loopback: each scheme, asked for through the gRPC port as tests do it.

use std::net::{SocketAddr, TcpListener};

use tokio::task::JoinHandle;

use super::{
    api::{ForwardEchoRequest, Header, ProxyProtocol},
    client::Client,
    options, server,
};

/// A server on ports of its own, ended with the test.
struct Echo {
    http: u16,
    https: u16,
    proxied: u16,
    grpc: u16,
    tcp: u16,
    server_first: u16,
    serving: JoinHandle<Result<(), String>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Echo {
    async fn start() -> Self {
        let free: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(free);
        let [http, https, proxied, grpc, tcp, server_first]: [u16; 6] = ports.try_into().unwrap();
        let flags = format!(
            "--port={http},{https},{proxied} --grpc={grpc} --tcp={tcp},{server_first} --tls={https} \
             --server-first={server_first} --proxy-protocol={proxied} --metrics=0 --version=v7 --cluster=here"
        );
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let serving = tokio::spawn(server::run(options::parse(&flags).unwrap()));
        let echo = Echo { http, https, proxied, grpc, tcp, server_first, serving };
        while Client::connect(echo.orders()).await.is_err() {
            assert!(!echo.serving.is_finished(), "the server ended");
            tokio::task::yield_now().await;
        }
        echo
    }

    fn orders(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.grpc))
    }

    async fn forward(&self, url: String, change: impl FnOnce(&mut ForwardEchoRequest)) -> Result<Vec<String>, String> {
        let mut request = ForwardEchoRequest { url, timeout_micros: 10_000_000, ..Default::default() };
        change(&mut request);
        let mut client = Client::connect(self.orders()).await.map_err(|status| status.to_string())?;
        client.forward(&request).await.map(|answer| answer.output).map_err(|status| status.to_string())
    }
}

#[tokio::test]
async fn every_scheme_tells_what_the_server_saw() {
    let echo = Echo::start().await;
    let Echo { http, https, proxied, grpc, tcp, server_first, .. } = echo;
    let plain = |_: &mut ForwardEchoRequest| {};
    let http2 = |request: &mut ForwardEchoRequest| request.http2 = true;
    let proxy = |request: &mut ForwardEchoRequest| request.proxy_protocol_version = ProxyProtocol::V2 as i32;
    let greeted = |request: &mut ForwardEchoRequest| request.server_first = true;
    type Change = fn(&mut ForwardEchoRequest);
    let table: [(String, Change, &[&str]); 9] = [
        (format!("http://127.0.0.1:{http}/a?b=c"), plain, &["URL=/a?b=c", "Proto=HTTP/1.1", "Method=GET"]),
        (format!("http://127.0.0.1:{http}/"), http2, &["Proto=HTTP/2.0"]),
        (format!("https://localhost:{https}/"), plain, &["Alpn=http/1.1", "Sni=localhost"]),
        (format!("https://localhost:{https}/"), http2, &["Alpn=h2", "Proto=HTTP/2.0"]),
        (format!("http://127.0.0.1:{proxied}/"), proxy, &["ProxyProtocol=2", "IP=127.0.0.1"]),
        (format!("grpc://127.0.0.1:{grpc}"), plain, &["Proto=GRPC", "Echo=HelloWorld", "StatusCode=200"]),
        (format!("tcp://127.0.0.1:{tcp}"), plain, &["Proto=TCP", "StatusCode=200"]),
        (format!("tcp://127.0.0.1:{server_first}"), greeted, &["Proto=TCP", "StatusCode=200"]),
        (format!("ws://127.0.0.1:{http}/"), plain, &["StatusCode=200", "Echo=HelloWorld"]),
    ];
    for (url, change, lines) in table {
        let output = echo.forward(url.clone(), change).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        for line in lines.iter().chain(&["ServiceVersion=v7", "Cluster=here"]) {
            let line = format!("[0 body] {line}\n");
            assert!(output[0].contains(&line), "{url} lacks {line:?}:\n{}", output[0]);
        }
    }
}

#[tokio::test]
async fn answers_are_to_order_and_headers_arrive() {
    let echo = Echo::start().await;
    let url = format!("http://127.0.0.1:{}/?codes=418&headers=x-back:yes", echo.http);
    let output = echo.forward(url, |request| {
        request.count = 3;
        request.method = "PUT".into();
        request.headers = [("Host", "example.com"), ("x-there", "yes")]
            .map(|(key, value)| Header { key: key.into(), value: value.into() })
            .into();
    });
    let output = output.await.unwrap();
    assert_eq!(output.len(), 3);
    for (id, text) in output.iter().enumerate() {
        for line in ["StatusCode=418", "ResponseHeader=X-Back:yes"] {
            assert!(text.contains(&format!("[{id}] {line}\n")), "{text}");
        }
        for line in ["Host=example.com", "RequestHeader=X-There:yes", "Method=PUT"] {
            assert!(text.contains(&format!("[{id} body] {line}\n")), "{text}");
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_when_asked() {
    let echo = Echo::start().await;
    let url = format!("http://127.0.0.1:{}/?codes=302&headers=location:/new/path", echo.http);
    let stays = echo.forward(url.clone(), |_| {}).await.unwrap();
    assert!(stays[0].contains("[0] StatusCode=302\n"), "{}", stays[0]);
    let follows = echo.forward(url, |request| request.follow_redirects = true).await.unwrap();
    assert!(follows[0].contains("[0] StatusCode=200\n") && follows[0].contains("URL=/new/path\n"), "{}", follows[0]);
}

#[tokio::test]
async fn a_failing_call_says_why() {
    let echo = Echo::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, words) in [
        (format!("http://{closed}/"), "refused"),
        (format!("tcp://127.0.0.1:{}", echo.http), "does not hold \"StatusCode=200\""),
        (format!("https://127.0.0.1:{}/", echo.http), "tls handshake"),
        ("nonsense".to_owned(), "://HOST"),
    ] {
        let error = echo.forward(url.clone(), |_| {}).await.unwrap_err();
        assert!(error.contains(words), "{url}: {error}");
    }
    let late = echo.forward(format!("http://127.0.0.1:{}/?delay=5s", echo.http), |request| {
        request.timeout_micros = 50_000;
    });
    assert!(late.await.unwrap_err().contains("timeout"));
}
