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
