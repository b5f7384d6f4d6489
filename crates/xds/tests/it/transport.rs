//! Both ends over a real connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use lateen_api::discovery::Node;
use lateen_xds::client::{self, BoxError, Connect, Connected, Subscriptions, Update};
use lateen_xds::server::{Ads, AdsServer, Limits, RequestStream, ResponseStream, Session};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Server};

use crate::catalog::{CLUSTERS, ENDPOINTS, ORDER, World};

/// Serves a fixed world; ends each stream after so many responses, to force reconnects.
struct Fixed {
    world: World,
    responses: usize,
}

impl Ads for Fixed {
    async fn connect(
        &self,
        head: tonic::Request<()>,
        delta: bool,
        mut requests: RequestStream,
    ) -> Result<ResponseStream, Status> {
        assert!(head.metadata().contains_key("authorization"));
        let mut session = Session::new(delta, ORDER, Limits::default());
        let (mut world, mut left) = (self.world.clone(), self.responses);
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                session.on_request(request).expect("within limits");
                while let Some(response) = session.next_response(&mut world, "v") {
                    if left == 0 || sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                    left -= 1;
                }
            }
        });
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
    }
}

struct Plain(Channel);

impl Connect for Plain {
    type Service = Channel;
    async fn connect(&mut self) -> Result<Connected<Channel>, BoxError> {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("authorization", "Bearer token".parse()?);
        let origin = "http://istiod".parse()?;
        Ok(Connected { service: self.0.clone(), metadata, origin })
    }
}

#[tokio::test]
async fn client_follows_clusters_to_endpoints_and_survives_lost_streams() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut world = World::default();
    for index in 0..300 {
        world.put(CLUSTERS, &format!("c{index}"), "1");
        world.put(ENDPOINTS, &format!("c{index}"), "1");
    }
    let ads = AdsServer::new(Arc::new(Fixed { world, responses: 1 }));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tokio::spawn(Server::builder().add_service(ads).serve_with_incoming(incoming));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let subscriptions = Subscriptions::default();
    subscriptions.add_all(CLUSTERS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (handler_seen, wanted) = (seen.clone(), subscriptions.clone());
    let handler = move |update: Update| {
        for (name, ..) in update.upserts.iter().filter(|_| update.type_url == CLUSTERS) {
            wanted.add(ENDPOINTS, name);
        }
        let names = update.upserts.into_iter().map(|(name, ..)| (update.type_url.clone(), name));
        handler_seen.lock().unwrap().extend(names);
        Vec::new()
    };
    let pause = |_| Duration::from_millis(1);
    let client = client::run(Plain(channel), Node::default(), subscriptions, handler, pause, ());
    let client = tokio::spawn(async move {
        client.await;
    });
    tokio::time::timeout(Duration::from_secs(20), async {
        while seen.lock().unwrap().len() < 600 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("all clusters and endpoints arrive");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(seen.lock().unwrap().len(), 600, "nothing is sent twice");
    client.abort();
    server.abort();
}
