//! Configuration in, one proxy's tables out: both cores in one process, no socket.

use std::sync::Arc;

use lateen_api::type_url;
use lateen_control_core::snapshot::Snapshot;
use lateen_control_core::translate;
use lateen_control_core::view::ProxyView;
use lateen_proxy_core::Tables;
use lateen_proxy_core::load::Loader;

/// The proxy refuses a resource that the control plane made for it.
#[derive(Debug, thiserror::Error)]
#[error("the proxy refuses {kind}: {reasons:?}")]
pub struct Refused {
    /// Type of the resources.
    pub kind: String,
    /// Their names, and why.
    pub reasons: Vec<(String, String)>,
}

/// The tables of a proxy in a mesh.
///
/// # Errors
/// When the proxy refuses a resource.
pub fn tables(view: &ProxyView, snapshot: &Snapshot) -> Result<Arc<Tables>, Refused> {
    let mut loader = Loader::default();
    for kind in [type_url::CLUSTER, type_url::LISTENER] {
        load(&mut loader, kind, translate::names(kind, view, snapshot).names, view, snapshot)?;
    }
    // Listeners and clusters say which endpoints and routes they need.
    let wanted = loader.wanted();
    load(&mut loader, type_url::ENDPOINT, wanted.endpoints, view, snapshot)?;
    load(&mut loader, type_url::ROUTE, wanted.routes, view, snapshot)?;
    Ok(loader.tables(true))
}

fn load(
    loader: &mut Loader,
    kind: &str,
    names: impl IntoIterator<Item = String>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Result<(), Refused> {
    let made = |name: String| Some((name.clone(), translate::resource(kind, &name, view, snapshot)?.resource.value));
    let resources: Vec<_> = names.into_iter().filter_map(made).collect();
    let reasons = loader.apply(kind, &resources, &[]);
    if reasons.is_empty() { Ok(()) } else { Err(Refused { kind: kind.to_owned(), reasons }) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use lateen_api::discovery::Node;
    use serde_json::{Value, json};

    use super::*;
    use crate::call::{Call, Protection, Speaks, Way};
    use crate::fixtures::BY;
    use crate::{Failure, explain, strict};

    fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    /// Two hosts with certificates of their own behind one address: who shows up as one is not served the other.
    #[test]
    fn a_host_is_served_only_under_its_own_server_name() {
        let server = |host: &str| {
            json!({"port": {"number": 443, "name": host, "protocol": "HTTPS"}, "hosts": [host],
                "tls": {"mode": "SIMPLE", "credentialName": host}})
        };
        let to_web = |host: &str| {
            let route = json!([{"destination": {"host": "web.shop.svc.cluster.local"}}]);
            object(
                "networking.istio.io/v1",
                "VirtualService",
                host,
                json!({"hosts": [host], "gateways": ["edge"], "http": [{"route": route}]}),
            )
        };
        let objects = [
            object("v1", "Service", "web", json!({"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]})),
            object(
                "networking.istio.io/v1",
                "Gateway",
                "edge",
                json!({"selector": {"istio": "ingressgateway"},
                "servers": [server("public.com"), server("private.com")]}),
            ),
            to_web("public.com"),
            to_web("private.com"),
        ];
        let node = Node { id: "router~10.0.0.9~edge-1.shop~shop.svc.cluster.local".into(), ..Default::default() };
        let mut view = ProxyView::from_node(&node).expect("a proxy");
        view.lateen = true;
        view.labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
        let tables = tables(&view, &strict::store(&objects).snapshot()).expect("loads");
        let failure = |sni: &str, host: &str| {
            let call = Call {
                address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                port: 443,
                speaks: Speaks::Http2,
                protection: Protection::Tls,
                principal: None,
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                method: "GET".into(),
                host: host.into(),
                path: "/".into(),
                headers: Vec::new(),
                sni: Some(sni.into()),
                alpn: None,
                way: Way::Gateway,
            };
            explain(&tables, &call, &BY).failure
        };
        assert_eq!(failure("public.com", "public.com"), None);
        assert_eq!(failure("public.com", "private.com"), Some(Failure::NoVirtualHost));
        assert_eq!(failure("unknown.com", "private.com"), Some(Failure::NoFilterChain));
    }
}
