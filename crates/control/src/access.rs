//! Who may read Secrets: proxies whose ServiceAccounts may, as the API server's own rules say.

use std::future::Future;
use std::pin::Pin;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use lateen_mesh::SpiffeId;

/// The future of a decision; the error says why there is none.
pub type Decision<'a> = Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>>;

/// Decides who may read Secrets.
pub trait SecretAccess: Send + Sync + 'static {
    /// Whether `caller` may read the Secrets of its own namespace.
    fn may_read<'a>(&'a self, caller: &'a SpiffeId) -> Decision<'a>;
}

/// Asks the API server's SubjectAccessReview.
pub struct AccessReviewer(pub Client);

impl SecretAccess for AccessReviewer {
    fn may_read<'a>(&'a self, caller: &'a SpiffeId) -> Decision<'a> {
        Box::pin(async move {
            let attributes = ResourceAttributes {
                namespace: Some(caller.namespace.clone()),
                resource: Some("secrets".to_owned()),
                verb: Some("list".to_owned()),
                ..Default::default()
            };
            let spec = SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{}", caller.namespace, caller.service_account)),
                resource_attributes: Some(attributes),
                ..Default::default()
            };
            let api: Api<SubjectAccessReview> = Api::all(self.0.clone());
            let review = SubjectAccessReview { spec, ..Default::default() };
            let review = api.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
            Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
        })
    }
}
