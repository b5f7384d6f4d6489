use super::*;

fn received(flavor: Flavor, request: http::request::Builder, body: &str) -> Received {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Received::new(flavor, parts, Bytes::copy_from_slice(body.as_bytes()), "10.0.0.9:4711".parse().unwrap())
}

async fn ask(request: http::request::Builder, body: &str) -> (u16, Response<Body>) {
    let response = route(&received(Flavor::Python, request, body)).await;
    (response.status().as_u16(), response)
}

async fn shown(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn requests_are_shown() {
    let request = Request::get("/get?a=1&b=x%20y&a=2").header("host", "httpbin").header("x-b3-traceid", "7");
    let (_, response) = ask(request, "").await;
    assert_eq!(
        shown(response).await,
        serde_json::json!({
            "args": { "a": ["1", "2"], "b": "x y" },
            "headers": { "Host": "httpbin", "X-B3-Traceid": "7" },
            "origin": "10.0.0.9",
            "url": "http://httpbin/get?a=1&b=x%20y&a=2",
        })
    );
    let request = Request::post("/post").header("content-type", "application/x-www-form-urlencoded");
    let (_, response) = ask(request, "name=a+b").await;
    assert_eq!(shown(response).await["form"], serde_json::json!({ "name": "a b" }));
}

#[tokio::test]
async fn the_go_flavour_shows_values_as_lists() {
    let received = received(Flavor::Go, Request::get("/get?a=1").header("host", "h"), "");
    let shown = shown(route(&received).await).await;
    assert_eq!(shown["args"], serde_json::json!({ "a": ["1"] }));
    assert_eq!(shown["headers"]["Host"], serde_json::json!(["h"]));
    assert_eq!(shown["method"], "GET");
}

#[tokio::test]
async fn statuses_come_to_order() {
    for (path, expected) in [
        ("/status/418", 418),
        ("/status/503:1", 503),
        ("/status/nonsense", 400),
        ("/status/100", 400),
        ("/redirect/3", 302),
        ("/redirect-to?url=http://example.com/&status_code=307", 307),
        ("/redirect-to", 400),
        ("/cookies/set?a=b", 302),
        ("/basic-auth/user/secret", 401),
        ("/bearer", 401),
        ("/get/more", 404),
        ("/post", 405),
        ("/delay/0", 200),
        ("/bytes/10", 200),
        ("/stream/2", 200),
        ("/uuid", 200),
    ] {
        let (status, _) = ask(Request::get(path), "").await;
        assert_eq!(status, expected, "{path}");
    }
}

#[tokio::test]
async fn what_can_be_got_can_be_asked_for_its_head() {
    assert_eq!(ask(Request::head("/get"), "").await.0, 200);
    assert_eq!(ask(Request::head("/post"), "").await.0, 405);
}

#[tokio::test]
async fn credentials_open_the_door() {
    let request = Request::get("/basic-auth/user/secret").header("authorization", "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(ask(request, "").await.0, 200);
    let request = Request::get("/basic-auth/user/other").header("authorization", "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(ask(request, "").await.0, 401);
    let (_, response) = ask(Request::get("/bearer").header("authorization", "Bearer t"), "").await;
    assert_eq!(shown(response).await["token"], "t");
}

#[tokio::test]
async fn a_stream_has_a_line_for_each_number() {
    let (_, response) = ask(Request::get("/stream/3"), "").await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let ids: Vec<Value> = std::str::from_utf8(&body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, [0, 1, 2]);
}

#[test]
fn command_lines_of_the_images_say_where_to_listen() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (flavor, args, expected) in [
        (Flavor::Python, "", ":80"),
        (Flavor::Python, "-b 0.0.0.0:8080 httpbin:app -k gevent", "0.0.0.0:8080"),
        (Flavor::Python, "--access-logfile - -b [::]:80 httpbin:app", "[::]:80"),
        (Flavor::Go, "", ":8080"),
        (Flavor::Go, "-port 9000 -host 0.0.0.0", "0.0.0.0:9000"),
    ] {
        assert_eq!(address(flavor, &words(args), None, None).as_deref(), Ok(expected), "{args}");
    }
    assert!(address(Flavor::Python, &words("-b nowhere"), None, None).is_err());
}
