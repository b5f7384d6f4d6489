//! The order of containers decides who starts first, and whom `kubectl exec` means.

use serde_json::Value;

use super::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER, settings::Settings};

#[derive(Clone, Copy)]
enum Place {
    First,
    Last,
}

/// Puts the proxy last, or first when the application waits for it; capture before the proxy and the pod's other
/// init containers when these are part of the mesh (native sidecar), after them otherwise.
pub(super) fn reorder(pod: &mut Value, settings: &Settings<'_>) {
    let proxy = if settings.hold_application() { Place::First } else { Place::Last };
    place(pod, "containers", PROXY_CONTAINER, proxy);
    let native = super::containers(pod, "initContainers").any(|container| container["name"] == PROXY_CONTAINER);
    place(pod, "initContainers", PROXY_CONTAINER, Place::First);
    place(pod, "initContainers", VALIDATION_CONTAINER, Place::First);
    place(pod, "initContainers", INIT_CONTAINER, if native { Place::First } else { Place::Last });
}

fn place(pod: &mut Value, list: &str, name: &str, place: Place) {
    let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    let Some(at) = containers.iter().position(|container| container["name"] == name) else {
        return;
    };
    let container = containers.remove(at);
    match place {
        Place::First => containers.insert(0, container),
        Place::Last => containers.push(container),
    }
}
