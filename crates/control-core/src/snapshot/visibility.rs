use crate::resource::Service;

use super::Snapshot;

/// Does a list of `exportTo` entries of an object in `owner` include `namespace`.
pub(super) fn exported(list: &[String], owner: &str, namespace: &str) -> bool {
    list.iter().any(|entry| match entry.as_str() {
        "*" => true,
        "." => owner == namespace,
        "~" => false,
        other => other == namespace,
    })
}

impl Snapshot {
    /// Does `namespace` see `service`.
    pub fn sees_service(&self, namespace: &str, service: &Service) -> bool {
        let list = first_given(&service.export_to, &self.mesh.raw.default_service_export_to);
        list.is_empty() || exported(list, service.namespace(), namespace)
    }

    /// Does `namespace` see a VirtualService of `owner` that has this `exportTo`.
    pub fn sees_virtual_service(&self, namespace: &str, owner: &str, export_to: &[String]) -> bool {
        let list = first_given(export_to, &self.mesh.raw.default_virtual_service_export_to);
        list.is_empty() || exported(list, owner, namespace)
    }

    /// Does `namespace` see a DestinationRule of `owner` that has this `exportTo`.
    pub fn sees_destination_rule(&self, namespace: &str, owner: &str, export_to: &[String]) -> bool {
        let list = first_given(export_to, &self.mesh.raw.default_destination_rule_export_to);
        list.is_empty() || exported(list, owner, namespace)
    }
}

fn first_given<'a>(own: &'a [String], mesh: &'a [String]) -> &'a [String] {
    if own.is_empty() { mesh } else { own }
}
