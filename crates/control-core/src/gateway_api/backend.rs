//! Where routes go.

use lateen_api::gateway_api as api;
use lateen_api::istio;

use super::grant::{From, To};
use super::{Cluster, Objects, Problem};

/// Host of a destination that leads nowhere.
const NOWHERE: &str = "invalid-backend.gateway-api.invalid";

/// What the conversion of routes looks at.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) objects: &'a Objects<'a>,
    pub(super) cluster: &'a dyn Cluster,
    /// Do backends of other namespaces need a ReferenceGrant: callers in the mesh reach them anyway.
    pub(super) needs_grants: bool,
}

/// A route, as one that refers to backends.
#[derive(Clone, Copy)]
pub(super) struct Referrer<'a> {
    pub(super) kind: &'static str,
    pub(super) namespace: &'a str,
}

/// A destination with its share; the destination leads nowhere where there is a problem.
pub(super) struct Backend {
    pub(super) destination: istio::Destination,
    pub(super) weight: i32,
}

impl World<'_> {
    /// The destination that a reference means. One that cannot be used leads nowhere, so that its share of requests
    /// gets errors, as the Gateway API has it.
    pub(super) fn destination(self, to: &api::BackendRef, from: Referrer<'_>) -> (istio::Destination, Option<Problem>) {
        match self.find(to, from) {
            Ok(host) => {
                let port = to.port.map(|number| istio::PortSelector { number });
                let problem = match (port.is_some(), self.cluster.has_host(&host)) {
                    (false, _) => Some(Problem::new("InvalidDestination", "port is required in backendRef")),
                    (_, false) => Some(Problem::new("BackendNotFound", format!("backend({host}) not found"))),
                    _ => None,
                };
                (istio::Destination { host, port, ..Default::default() }, problem)
            }
            Err(problem) => {
                let port = Some(istio::PortSelector { number: to.port.unwrap_or(1) });
                (istio::Destination { host: NOWHERE.to_owned(), port, ..Default::default() }, Some(problem))
            }
        }
    }

    fn find(self, to: &api::BackendRef, from: Referrer<'_>) -> Result<String, Problem> {
        let group = to.group.as_deref().unwrap_or_default();
        let kind = to.kind.as_deref().unwrap_or("Service");
        let namespace = to.namespace.as_deref().unwrap_or(from.namespace);
        let target = To { group, kind, namespace, name: &to.name };
        match (group, kind) {
            ("" | "core", "Service") if to.name.contains('.') => {
                let message = "service name invalid; the name of the Service must be used, not the hostname.";
                Err(Problem::new("InvalidDestination", message))
            }
            ("" | "core", "Service") => {
                let target = To { group: "", ..target };
                if self.needs_grants
                    && !self.objects.grants(From { kind: from.kind, namespace: from.namespace }, target)
                {
                    let message = format!(
                        "backendRef {}/{namespace} not accessible to a {} in namespace \"{}\" (missing a \
                         ReferenceGrant?)",
                        to.name, from.kind, from.namespace
                    );
                    return Err(Problem::new("RefNotPermitted", message));
                }
                Ok(format!("{}.{namespace}.svc.{}", to.name, self.cluster.domain()))
            }
            ("networking.istio.io", "Hostname") if to.namespace.is_some() => {
                Err(Problem::new("InvalidDestination", "namespace may not be set with Hostname type"))
            }
            ("networking.istio.io", "Hostname") => Ok(to.name.clone()),
            _ => {
                let message = format!("referencing unsupported backendRef: group \"{group}\" kind \"{kind}\"");
                Err(Problem::new("InvalidKind", message))
            }
        }
    }

    /// The destinations of references with their shares; those without a share are left out.
    pub(super) fn backends<'b, T: 'b>(
        self,
        all: &'b [T],
        reference: impl Fn(&T) -> &api::BackendRef,
        from: Referrer<'_>,
        problem: &mut Option<Problem>,
    ) -> Vec<(&'b T, Backend)> {
        let counted: Vec<&T> = all.iter().filter(|one| reference(one).weight != Some(0)).collect();
        let single = counted.len() == 1;
        let one = |one: &'b T| {
            let to = reference(one);
            let (destination, wrong) = self.destination(to, from);
            if let Some(wrong) = wrong {
                problem.get_or_insert(wrong);
            }
            let weight = if single { 0 } else { i32::try_from(to.weight.unwrap_or(1)).unwrap_or(i32::MAX) };
            (one, Backend { destination, weight })
        };
        counted.into_iter().map(one).collect()
    }
}
