//! The table of built-in resources.

use std::sync::Arc;

use super::{Resource, Scale, Version};
use crate::{
    rules::{self, Rules},
    schema::Schema,
};

#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    all: bool,
    namespaced: bool,
    status: bool,
    scale: bool,
    definitions: &'static str,
    rules: &'static dyn Rules,
    answers_only: bool,
    /// Older versions that are served too, each with the path of its definitions.
    older: &'static [(&'static str, &'static str)],
}

const fn row(
    group: &'static str,
    version: &'static str,
    definitions: &'static str,
    names: (&'static str, &'static str, &'static str),
    short: &'static [&'static str],
) -> Row {
    Row {
        group,
        version,
        plural: names.0,
        singular: names.1,
        kind: names.2,
        short,
        all: false,
        namespaced: true,
        status: false,
        scale: false,
        definitions,
        rules: &rules::Plain,
        answers_only: false,
        older: &[],
    }
}

impl Row {
    const fn all(mut self) -> Self {
        self.all = true;
        self
    }
    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }
    const fn status(mut self) -> Self {
        self.status = true;
        self
    }
    const fn scale(mut self) -> Self {
        self.scale = true;
        self
    }
    const fn rules(mut self, rules: &'static dyn Rules) -> Self {
        self.rules = rules;
        self
    }
    const fn answers(mut self) -> Self {
        self.answers_only = true;
        self
    }
    const fn older(mut self, versions: &'static [(&'static str, &'static str)]) -> Self {
        self.older = versions;
        self
    }
}

const CORE: &str = "io.k8s.api.core.v1";
const APPS: &str = "io.k8s.api.apps.v1";
const BATCH: &str = "io.k8s.api.batch.v1";
const RBAC: &str = "io.k8s.api.rbac.v1";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "io.k8s.api.admissionregistration.v1";
const ADMISSION_GROUP: &str = "admissionregistration.k8s.io";
const AUTHN: &str = "io.k8s.api.authentication.v1";
const AUTHN_GROUP: &str = "authentication.k8s.io";
const AUTHZ: &str = "io.k8s.api.authorization.v1";
const AUTHZ_GROUP: &str = "authorization.k8s.io";
const STORAGE: &str = "io.k8s.api.storage.v1";
const NETWORKING: &str = "io.k8s.api.networking.v1";
const NETWORKING_GROUP: &str = "networking.k8s.io";
const CERTIFICATES: &str = "io.k8s.api.certificates.v1";
const AUTOSCALING_V1: &str = "io.k8s.api.autoscaling.v1";
const AUTOSCALING_V2: &str = "io.k8s.api.autoscaling.v2";

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row("", "v1", CORE, ("namespaces", "namespace", "Namespace"), &["ns"]).cluster().status().rules(&rules::Namespace),
        row("", "v1", CORE, ("nodes", "node", "Node"), &["no"]).cluster().status().rules(&rules::Node),
        row("", "v1", CORE, ("pods", "pod", "Pod"), &["po"]).all().status().rules(&rules::Pod),
        row("", "v1", CORE, ("services", "service", "Service"), &["svc"]).all().status().rules(&rules::Service),
        row("", "v1", CORE, ("endpoints", "endpoints", "Endpoints"), &["ep"]).rules(&rules::Endpoints),
        row("", "v1", CORE, ("configmaps", "configmap", "ConfigMap"), &["cm"]).rules(&rules::ConfigMap),
        row("", "v1", CORE, ("secrets", "secret", "Secret"), &[]).rules(&rules::Secret),
        row("", "v1", CORE, ("serviceaccounts", "serviceaccount", "ServiceAccount"), &["sa"]),
        row("", "v1", CORE, ("events", "event", "Event"), &["ev"]).rules(&rules::Event),
        row("", "v1", CORE, ("replicationcontrollers", "replicationcontroller", "ReplicationController"), &["rc"]).all().status().scale().rules(&rules::ReplicationController),
        row("", "v1", CORE, ("resourcequotas", "resourcequota", "ResourceQuota"), &["quota"]).status().rules(&rules::ResourceQuota),
        row("", "v1", CORE, ("limitranges", "limitrange", "LimitRange"), &["limits"]).rules(&rules::LimitRange),
        row("", "v1", CORE, ("persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim"), &["pvc"]).status().rules(&rules::PersistentVolumeClaim),
        row("", "v1", CORE, ("persistentvolumes", "persistentvolume", "PersistentVolume"), &["pv"]).cluster().status().rules(&rules::PersistentVolume),
        row("apps", "v1", APPS, ("deployments", "deployment", "Deployment"), &["deploy"]).all().status().scale().rules(&rules::Deployment),
        row("apps", "v1", APPS, ("replicasets", "replicaset", "ReplicaSet"), &["rs"]).all().status().scale().rules(&rules::ReplicaSet),
        row("apps", "v1", APPS, ("statefulsets", "statefulset", "StatefulSet"), &["sts"]).all().status().scale().rules(&rules::StatefulSet),
        row("apps", "v1", APPS, ("daemonsets", "daemonset", "DaemonSet"), &["ds"]).all().status().rules(&rules::DaemonSet),
        row("apps", "v1", APPS, ("controllerrevisions", "controllerrevision", "ControllerRevision"), &[]).rules(&rules::ControllerRevision),
        row("batch", "v1", BATCH, ("jobs", "job", "Job"), &[]).all().status().rules(&rules::Job),
        row("batch", "v1", BATCH, ("cronjobs", "cronjob", "CronJob"), &["cj"]).all().status().rules(&rules::CronJob),
        row("discovery.k8s.io", "v1", "io.k8s.api.discovery.v1", ("endpointslices", "endpointslice", "EndpointSlice"), &[]).rules(&rules::EndpointSlice),
        row("coordination.k8s.io", "v1", "io.k8s.api.coordination.v1", ("leases", "lease", "Lease"), &[]),
        row("events.k8s.io", "v1", "io.k8s.api.events.v1", ("events", "event", "Event"), &[]).rules(&rules::Event),
        row("policy", "v1", "io.k8s.api.policy.v1", ("poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget"), &["pdb"]).status().rules(&rules::PodDisruptionBudget),
        row("autoscaling", "v2", AUTOSCALING_V2, ("horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler"), &["hpa"]).all().status().rules(&rules::HorizontalPodAutoscaler).older(&[("v1", AUTOSCALING_V1)]),
        row(NETWORKING_GROUP, "v1", NETWORKING, ("ingresses", "ingress", "Ingress"), &["ing"]).status().rules(&rules::Ingress),
        row(NETWORKING_GROUP, "v1", NETWORKING, ("ingressclasses", "ingressclass", "IngressClass"), &[]).cluster().rules(&rules::IngressClass),
        row(NETWORKING_GROUP, "v1", NETWORKING, ("networkpolicies", "networkpolicy", "NetworkPolicy"), &["netpol"]).rules(&rules::NetworkPolicy),
        row("storage.k8s.io", "v1", STORAGE, ("storageclasses", "storageclass", "StorageClass"), &["sc"]).cluster().rules(&rules::StorageClass),
        row("certificates.k8s.io", "v1", CERTIFICATES, ("certificatesigningrequests", "certificatesigningrequest", "CertificateSigningRequest"), &["csr"]).cluster().status().rules(&rules::CertificateSigningRequest),
        row(RBAC_GROUP, "v1", RBAC, ("roles", "role", "Role"), &[]).rules(&rules::Rbac),
        row(RBAC_GROUP, "v1", RBAC, ("rolebindings", "rolebinding", "RoleBinding"), &[]).rules(&rules::Rbac),
        row(RBAC_GROUP, "v1", RBAC, ("clusterroles", "clusterrole", "ClusterRole"), &[]).cluster().rules(&rules::Rbac),
        row(RBAC_GROUP, "v1", RBAC, ("clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding"), &[]).cluster().rules(&rules::Rbac),
        row(ADMISSION_GROUP, "v1", ADMISSION, ("mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "MutatingWebhookConfiguration"), &[]).cluster().rules(&rules::Webhooks),
        row(ADMISSION_GROUP, "v1", ADMISSION, ("validatingwebhookconfigurations", "validatingwebhookconfiguration", "ValidatingWebhookConfiguration"), &[]).cluster().rules(&rules::Webhooks),
        row(ADMISSION_GROUP, "v1", ADMISSION, ("validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy"), &[]).cluster().status().rules(&rules::Policy),
        row(ADMISSION_GROUP, "v1", ADMISSION, ("validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "ValidatingAdmissionPolicyBinding"), &[]).cluster().rules(&rules::PolicyBinding),
        row("apiextensions.k8s.io", "v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", ("customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition"), &["crd", "crds"]).cluster().status().rules(&rules::Definition),
        row("scheduling.k8s.io", "v1", "io.k8s.api.scheduling.v1", ("priorityclasses", "priorityclass", "PriorityClass"), &["pc"]).cluster().rules(&rules::PriorityClass),
        row("node.k8s.io", "v1", "io.k8s.api.node.v1", ("runtimeclasses", "runtimeclass", "RuntimeClass"), &[]).cluster().rules(&rules::RuntimeClass),
        row(AUTHN_GROUP, "v1", AUTHN, ("tokenreviews", "tokenreview", "TokenReview"), &[]).cluster().answers(),
        row(AUTHN_GROUP, "v1", AUTHN, ("selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview"), &[]).cluster().answers(),
        row(AUTHZ_GROUP, "v1", AUTHZ, ("subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview"), &[]).cluster().answers(),
        row(AUTHZ_GROUP, "v1", AUTHZ, ("selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview"), &[]).cluster().answers(),
        row(AUTHZ_GROUP, "v1", AUTHZ, ("selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview"), &[]).cluster().answers(),
        row(AUTHZ_GROUP, "v1", AUTHZ, ("localsubjectaccessreviews", "localsubjectaccessreview", "LocalSubjectAccessReview"), &[]).answers(),
    ]
}

/// The built-in resources, in the order of discovery.
pub fn resources() -> Vec<Resource> {
    rows().into_iter().map(resource).collect()
}

fn resource(row: Row) -> Resource {
    // Both groups' events are one set of objects.
    let group = if row.group == "events.k8s.io" { "" } else { row.group };
    Resource {
        group: row.group.into(),
        plural: row.plural.into(),
        singular: row.singular.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind),
        short_names: row.short.iter().map(|s| (*s).to_owned()).collect(),
        categories: if row.all { vec!["all".into()] } else { Vec::new() },
        namespaced: row.namespaced,
        versions: versions(&row),
        storage: row.version.into(),
        collection: Arc::from(format!("{group}/{}", row.plural)),
        rules: row.rules,
        custom: false,
        terminating: false,
        virtual_only: row.answers_only,
    }
}

fn versions(row: &Row) -> Vec<Version> {
    let preferred = (row.version, row.definitions);
    std::iter::once(&preferred).chain(row.older).map(|(name, definitions)| version(row, name, definitions)).collect()
}

fn version(row: &Row, name: &str, definitions: &str) -> Version {
    Version {
        name: name.into(),
        served: true,
        deprecated: None,
        status: row.status,
        scale: row.scale.then(|| Scale {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: None,
        }),
        schema: Schema::builtin(format!("{definitions}.{}", row.kind)),
        columns: Vec::new(),
        selectable: Vec::new(),
    }
}
