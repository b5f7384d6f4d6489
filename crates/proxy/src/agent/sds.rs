//! Secret discovery: certificate, key and roots for a local Envoy, anew whenever they change.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use lateen_api::discovery::{Any, DiscoveryRequest, DiscoveryResponse};
use lateen_api::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use lateen_api::type_url;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::unix::Service;
use crate::certs::{CertStore, to_pem};

const STREAM_SECRETS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";

/// Serves secrets.
#[derive(Clone)]
pub(super) struct Secrets(pub(super) Arc<CertStore>);

impl Service for Secrets {
    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != STREAM_SECRETS {
            return Status::unimplemented("only StreamSecrets is served").into_http();
        }
        let codec = ProstCodec::<DiscoveryResponse, DiscoveryRequest>::default();
        Grpc::new(codec).streaming(Opening(self.0.clone()), request).await
    }
}

struct Opening(Arc<CertStore>);

type Responses = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;

impl StreamingService<DiscoveryRequest> for Opening {
    type Response = DiscoveryResponse;
    type ResponseStream = Responses;
    type Future = std::future::Ready<Result<tonic::Response<Responses>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(serve(self.0.clone(), request.into_inner(), sender));
        std::future::ready(Ok(tonic::Response::new(Box::pin(ReceiverStream::new(receiver)))))
    }
}

/// One subscription: answers when the names or the certificates are new.
async fn serve(
    store: Arc<CertStore>,
    mut requests: Streaming<DiscoveryRequest>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut names = BTreeSet::new();
    let mut sent = 0;
    loop {
        tokio::select! {
            request = requests.next() => {
                let Some(Ok(request)) = request else { return };
                if let Some(error) = &request.error_detail {
                    tracing::warn!(error = error.message, "Envoy refused a secret");
                }
                let wanted: BTreeSet<String> = request.resource_names.into_iter().collect();
                if wanted == names {
                    continue;
                }
                names = wanted;
            }
            _ = store.newer_than(sent), if !names.is_empty() => {}
        }
        let generation = store.generation();
        if generation == 0 {
            // There will be news once there is a first certificate.
            continue;
        }
        sent = generation;
        if responses.send(Ok(response(&store, &names, generation))).await.is_err() {
            return;
        }
    }
}

fn response(store: &CertStore, names: &BTreeSet<String>, generation: u64) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: generation.to_string(),
        resources: names.iter().filter_map(|name| secret(store, name)).map(|secret| Any::pack(&secret)).collect(),
        type_url: type_url::SECRET.to_owned(),
        nonce: generation.to_string(),
        control_plane: None,
    }
}

fn secret(store: &CertStore, name: &str) -> Option<Secret> {
    let inline = |text: String| {
        Some(DataSource { specifier: Some(Specifier::InlineBytes(text.into_bytes())), ..Default::default() })
    };
    let kind = match name {
        "default" => {
            let identity = store.identity()?;
            secret::Type::TlsCertificate(TlsCertificate {
                certificate_chain: inline(to_pem(identity.chain())),
                private_key: inline(identity.key_pem()),
                ..Default::default()
            })
        }
        "ROOTCA" => {
            let roots = store.roots()?;
            let revoked = roots.revoked.as_ref().and_then(|pem| inline(String::from_utf8_lossy(pem).into_owned()));
            secret::Type::ValidationContext(CertificateValidationContext {
                trusted_ca: inline(to_pem(&roots.certificates)),
                crl: revoked,
                ..Default::default()
            })
        }
        other => {
            tracing::warn!(name = other, "Envoy asks for a secret that this agent does not have");
            return None;
        }
    };
    Some(Secret { name: name.to_owned(), r#type: Some(kind) })
}
