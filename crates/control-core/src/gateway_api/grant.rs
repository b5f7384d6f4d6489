//! References into other namespaces.

use super::Objects;

/// Something that refers to something else.
#[derive(Clone, Copy)]
pub(super) struct From<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// What is referred to.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Objects<'_> {
    /// May an object of the Gateway API refer to another: in its own namespace, or as a ReferenceGrant of the other's
    /// namespace says.
    pub(super) fn grants(&self, from: From<'_>, to: To<'_>) -> bool {
        from.namespace == to.namespace
            || self.grants.iter().filter(|grant| grant.meta.namespace == to.namespace).any(|grant| {
                grant.spec.from.iter().any(|f| {
                    f.group == lateen_api::gateway_api::GROUP && f.kind == from.kind && f.namespace == from.namespace
                }) && grant.spec.to.iter().any(|t| {
                    t.group == to.group
                        && t.kind == to.kind
                        && t.name.as_ref().is_none_or(|n| n.is_empty() || n == to.name)
                })
            })
    }
}
