//! What operators and probes see.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::istiod::{TestIstiod, http};

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    http(TcpStream::connect(address).await.unwrap(), path, None).await
}

#[tokio::test]
async fn ready_only_once_everything_was_read() {
    let istiod = TestIstiod::start().await;
    let health = istiod.servers.addresses.health;
    assert_eq!(get(health, "/ready").await.0, 503);
    istiod.synced().await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while get(health, "/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("becomes ready");
}

#[tokio::test]
async fn pages_answer() {
    let istiod = TestIstiod::with(&[]).await;
    let monitoring = istiod.servers.addresses.monitoring;
    assert_eq!(get(monitoring, "/version").await, (200, "1.2.3".to_owned()));
    let (_, metrics) = get(monitoring, "/metrics").await;
    assert!(metrics.contains("istio_build{component=\"pilot\",tag=\"1.2.3\"} 1"), "{metrics}");
    let (status, pages) = get(monitoring, "/debug/list").await;
    assert_eq!(status, 200);
    for page in serde_json::from_str::<Vec<String>>(&pages).unwrap() {
        let (status, body) = get(monitoring, &page).await;
        assert_eq!(status, 200, "{page}");
        serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{page}: {error}"));
    }
    assert_eq!(get(monitoring, "/debug/nothing").await.0, 404);
}
