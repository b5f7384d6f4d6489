//! Who calls: ServiceAccount tokens, checked by the API server.

use std::future::Future;
use std::pin::Pin;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use lateen_mesh::SpiffeId;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The audience of tokens made for the control plane.
const AUDIENCE: &str = "istio-ca";

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is not good.
    #[error("the token was refused: {0}")]
    Refused(String),
    /// Nobody could be asked.
    #[error("the token could not be checked: {0}; try again")]
    Unavailable(String),
}

/// The future of an authentication.
pub type Authentication<'a> = Pin<Box<dyn Future<Output = Result<SpiffeId, AuthError>> + Send + 'a>>;

/// Tells identities by tokens.
pub trait Authenticator: Send + Sync + 'static {
    /// The identity of a token's bearer.
    fn authenticate<'a>(&'a self, token: &'a str) -> Authentication<'a>;
}

/// Asks the API server's TokenReview.
pub struct TokenReviewer {
    client: Client,
    trust_domain: String,
}

impl TokenReviewer {
    /// Identities are of `trust_domain`.
    pub fn new(client: Client, trust_domain: String) -> Self {
        TokenReviewer { client, trust_domain }
    }

    async fn review(&self, token: &str) -> Result<SpiffeId, AuthError> {
        // An API server refuses the question, not the token.
        if token.is_empty() {
            return Err(AuthError::Refused("it is empty".to_owned()));
        }
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..Default::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let review = api.create(&PostParams::default(), &review).await;
        let review = review.map_err(|error| AuthError::Unavailable(error.to_string()))?;
        let status = review.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let reason = status.error.unwrap_or_else(|| "it is not valid".to_owned());
            return Err(AuthError::Refused(reason));
        }
        // An API server that ignores audiences answers without them.
        if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
            return Err(AuthError::Refused(format!("it is not for audience {AUDIENCE}")));
        }
        let user = status.user.and_then(|user| user.username).unwrap_or_default();
        self.identity(&user)
    }

    fn identity(&self, user: &str) -> Result<SpiffeId, AuthError> {
        let account = user.strip_prefix("system:serviceaccount:");
        let (namespace, service_account) = account
            .and_then(|account| account.split_once(':'))
            .ok_or_else(|| AuthError::Refused("its bearer is not a ServiceAccount".to_owned()))?;
        Ok(SpiffeId::new(&self.trust_domain, namespace, service_account))
    }
}

impl Authenticator for TokenReviewer {
    fn authenticate<'a>(&'a self, token: &'a str) -> Authentication<'a> {
        Box::pin(self.review(token))
    }
}

/// The caller of a gRPC method, by its bearer token.
pub async fn identify(authenticator: &dyn Authenticator, metadata: &MetadataMap) -> Result<SpiffeId, Status> {
    let token = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
        .ok_or_else(|| {
            Status::unauthenticated("send a ServiceAccount token for audience istio-ca in `authorization: Bearer …`")
        })?;
    authenticator.authenticate(token.trim()).await.map_err(|error| match &error {
        AuthError::Refused(_) => Status::unauthenticated(error.to_string()),
        AuthError::Unavailable(_) => Status::unavailable(error.to_string()),
    })
}
