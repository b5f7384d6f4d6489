//! Definitions of Kubernetes' own types, made once when first needed.

use std::sync::OnceLock;

use k8s_openapi::{
    api as k, apiextensions_apiserver::pkg::apis::apiextensions::v1 as crd, apimachinery::pkg::apis::meta::v1 as meta,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

static DEFINITIONS: OnceLock<Map<String, Value>> = OnceLock::new();

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = "/components/schemas".into();
    settings.into_generator()
}

macro_rules! collect {
    ($generator:ident: $($kind:ty),* $(,)?) => {
        $($generator.subschema_for::<$kind>();)*
    };
}

fn definitions() -> &'static Map<String, Value> {
    DEFINITIONS.get_or_init(|| {
        let mut g = generator();
        workloads(&mut g);
        cluster(&mut g);
        g.take_definitions(false)
    })
}

fn workloads(g: &mut SchemaGenerator) {
    collect!(g:
        k::core::v1::Pod,
        k::core::v1::PodTemplate,
        k::core::v1::Service,
        k::core::v1::Endpoints,
        k::core::v1::ConfigMap,
        k::core::v1::Secret,
        k::core::v1::ServiceAccount,
        k::core::v1::Event,
        k::core::v1::PersistentVolumeClaim,
        k::core::v1::PersistentVolume,
        k::core::v1::Namespace,
        k::core::v1::Node,
        k::core::v1::ReplicationController,
        k::core::v1::ResourceQuota,
        k::core::v1::LimitRange,
        k::apps::v1::Deployment,
        k::apps::v1::ReplicaSet,
        k::apps::v1::StatefulSet,
        k::apps::v1::DaemonSet,
        k::apps::v1::ControllerRevision,
        k::batch::v1::Job,
        k::batch::v1::CronJob,
        k::autoscaling::v1::Scale,
        k::autoscaling::v1::HorizontalPodAutoscaler,
        k::autoscaling::v2::HorizontalPodAutoscaler,
        k::policy::v1::PodDisruptionBudget,
        k::policy::v1::Eviction,
        k::discovery::v1::EndpointSlice,
        k::coordination::v1::Lease,
        k::events::v1::Event,
        k::networking::v1::Ingress,
        k::networking::v1::IngressClass,
        k::networking::v1::NetworkPolicy,
        k::scheduling::v1::PriorityClass,
        k::node::v1::RuntimeClass,
        k::storage::v1::StorageClass,
        k::certificates::v1::CertificateSigningRequest,
    );
}

fn cluster(g: &mut SchemaGenerator) {
    collect!(g:
        k::rbac::v1::Role,
        k::rbac::v1::RoleBinding,
        k::rbac::v1::ClusterRole,
        k::rbac::v1::ClusterRoleBinding,
        k::admissionregistration::v1::MutatingWebhookConfiguration,
        k::admissionregistration::v1::ValidatingWebhookConfiguration,
        k::admissionregistration::v1::ValidatingAdmissionPolicy,
        k::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        k::authentication::v1::TokenRequest,
        k::authentication::v1::TokenReview,
        k::authentication::v1::SelfSubjectReview,
        k::authorization::v1::SubjectAccessReview,
        k::authorization::v1::SelfSubjectAccessReview,
        k::authorization::v1::SelfSubjectRulesReview,
        k::authorization::v1::LocalSubjectAccessReview,
        crd::CustomResourceDefinition,
        meta::ObjectMeta,
        meta::ListMeta,
        meta::Status,
        meta::DeleteOptions,
    );
}

/// A definition by name, such as `io.k8s.api.core.v1.Pod`.
pub fn definition(name: &str) -> Option<&'static Value> {
    definitions().get(name)
}
