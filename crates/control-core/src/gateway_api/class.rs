//! Which gateways are served here.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;

use super::condition::{Condition, conditions};
use super::status::Status;
use super::{CONTROLLER, Objects};
use crate::resource::{Key, Kind, Object};

/// The class that is there without being asked for.
pub const CLASS: &str = "istio";

/// Names of the classes served here.
pub(super) struct Classes<'a>(BTreeMap<&'a str, bool>);

impl<'a> Classes<'a> {
    pub(super) fn new(objects: &Objects<'a>) -> Self {
        let ours = |class: &&'a Object<api::GatewayClass>| {
            (class.meta.name.as_str(), class.spec.controller_name == CONTROLLER)
        };
        Self(objects.classes.iter().map(ours).collect())
    }

    /// Is a gateway served here. Its class may come after it.
    pub(super) fn serves(&self, gateway: &api::Gateway) -> bool {
        let class = gateway.gateway_class_name.as_str();
        self.0.get(class).copied().unwrap_or(class == CLASS)
    }
}

/// The statuses of the classes that are ours.
pub(super) fn statuses(objects: &Objects<'_>) -> Vec<(Key, Status)> {
    let ours = objects.classes.iter().filter(|class| class.spec.controller_name == CONTROLLER);
    ours.map(|class| {
        let accepted = Condition::new("Accepted", "Accepted", "Handled by Istio controller");
        let key = Key::new(Kind::GatewayClass, "", &class.meta.name);
        (key, Status::whole(serde_json::json!({ "conditions": conditions([accepted], class.generation) })))
    })
    .collect()
}
