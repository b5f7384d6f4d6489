//! Accepts discovery streams: who calls, and may it call itself that.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lateen_api::discovery::Node;
use lateen_api::envoy::google::protobuf::value::Kind;
use lateen_mesh::SpiffeId;
use lateen_xds::server::{Ads, Request, RequestStream, ResponseStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::cache::Caches;
use super::clients::Clients;
use super::connection::{Caller, Connection};
use crate::access::SecretAccess;
use crate::auth::{Authenticator, identify};
use crate::listener::Peer;
use crate::metrics::Metrics;
use crate::state::Published;

/// Time for the first request of a stream.
const FIRST_REQUEST: Duration = Duration::from_secs(15);
/// Responses ready to be written; a session has one for each type at the most.
const RESPONSES: usize = 8;

/// What all streams share.
pub struct Shared {
    /// What is served now.
    pub published: watch::Receiver<Arc<Published>>,
    /// Resources made before.
    pub caches: Caches,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Decides who gets credentials.
    pub access: Arc<dyn SecretAccess>,
}

/// The discovery service.
pub struct Discovery {
    shared: Arc<Shared>,
    authenticator: Arc<dyn Authenticator>,
}

impl Discovery {
    /// Serves what `shared` publishes to those whom `authenticator` knows.
    pub fn new(shared: Arc<Shared>, authenticator: Arc<dyn Authenticator>) -> Self {
        Discovery { shared, authenticator }
    }

    /// The caller on an encrypted port; on the plain one nobody has to say who they are, as in
    /// Istio.
    async fn caller(&self, head: &tonic::Request<()>) -> Result<Option<SpiffeId>, Status> {
        let tls = head.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
        if tls { identify(&*self.authenticator, head.metadata()).await.map(Some) } else { Ok(None) }
    }
}

impl Ads for Discovery {
    async fn connect(
        &self,
        head: tonic::Request<()>,
        delta: bool,
        mut requests: RequestStream,
    ) -> Result<ResponseStream, Status> {
        let caller = self.caller(&head).await?;
        let peer = head.extensions().get::<Peer>();
        let address = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
        let (sender, receiver) = mpsc::channel(RESPONSES);
        let shared = self.shared.clone();
        // The client may wait for our headers before it sends its first request.
        tokio::spawn(async move {
            let opened = async {
                let first = first_request(&mut requests).await?;
                let node = first.node.clone().unwrap_or_default();
                check_identity(&node, caller.as_ref())?;
                let from = Caller { node: &node, identity: caller, address, delta };
                Connection::open(shared, from, sender.clone()).map(|connection| (connection, first))
            };
            let ended = match opened.await {
                Ok((connection, first)) => connection.run(first, requests).await,
                Err(status) => Err(status),
            };
            if let Err(status) = ended {
                tracing::info!(code = ?status.code(), reason = status.message(), "discovery stream ended");
                // Fails when the client is gone, and then there is nobody to tell.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

async fn first_request(requests: &mut RequestStream) -> Result<Request, Status> {
    let first = tokio::time::timeout(FIRST_REQUEST, requests.next()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no discovery request came"))?;
    let first = first.ok_or_else(|| Status::cancelled("the client left"))??;
    match &first.node {
        Some(node) if !node.id.is_empty() => Ok(first),
        _ => Err(Status::invalid_argument("the first discovery request has to carry a node with an id")),
    }
}

/// A proxy may only speak for its own namespace and ServiceAccount.
fn check_identity(node: &Node, caller: Option<&SpiffeId>) -> Result<(), Status> {
    let Some(caller) = caller else { return Ok(()) };
    let metadata = |name: &str| {
        let value = node.metadata.as_ref()?.fields.get(name)?;
        match value.kind.as_ref()? {
            Kind::StringValue(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        }
    };
    let namespace = id_namespace(&node.id);
    let claims = [
        ("namespace", namespace, &caller.namespace),
        ("namespace", metadata("NAMESPACE"), &caller.namespace),
        ("ServiceAccount", metadata("SERVICE_ACCOUNT"), &caller.service_account),
    ];
    for (what, claim, proven) in claims {
        if let Some(claim) = claim.filter(|claim| claim != proven) {
            return Err(Status::permission_denied(format!(
                "the proxy claims {what} {claim}, but its token is of {what} {proven}"
            )));
        }
    }
    Ok(())
}

/// The namespace in `type~address~name.namespace~domain`.
fn id_namespace(id: &str) -> Option<&str> {
    id.split('~').nth(2)?.rsplit_once('.').map(|(_, namespace)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_cannot_claim_another_identity() {
        let caller = SpiffeId::new("cluster.local", "shop", "cart");
        let node = |id: &str| Node { id: id.into(), ..Default::default() };
        let own = node("sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local");
        let other = node("sidecar~10.0.0.1~bank-1.bank~bank.svc.cluster.local");
        assert!(check_identity(&own, Some(&caller)).is_ok());
        assert!(check_identity(&other, None).is_ok(), "nothing is proven on the plain port");
        let refused = check_identity(&other, Some(&caller)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        assert!(refused.message().contains("namespace bank"), "{}", refused.message());
    }
}
