//! ControllerRevisions: what the template of a StatefulSet or a DaemonSet was, change by change.

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, OwnerKind};
use super::object::{Meta, controller_ref, map_mut};
use super::template;

/// The label by which pods say which revision they are of.
pub const HASH_LABEL: &str = "controller-revision-hash";
const DIRECTIVE: &str = "$patch";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All revisions of an object, the oldest first, and the one of its present template.
pub struct History {
    /// All, by their numbers.
    pub all: Vec<Object>,
    /// The present one; among `all`.
    pub present: Object,
}

impl History {
    /// The revision of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Object> {
        self.all.iter().find(|r| r.name() == name)
    }
}

/// Reads the history of `owner`; its present template is given a revision, or a new number where it had one before.
pub async fn history(api: &Api, owner: &Object, kind: OwnerKind) -> Result<History, Status> {
    let mut all = api.claim(&gvr::CONTROLLER_REVISIONS, owner, kind).await?;
    all.sort_by_key(|r| (number(r), r.created(), r.name().to_owned()));
    let next = all.last().map_or(0, |r| number(r)) + 1;
    let wanted = data(owner);
    let present = match all.iter().position(|r| same(&r["data"], &wanted)) {
        Some(at) if at + 1 == all.len() => return Ok(History { present: all[at].clone(), all }),
        Some(at) => {
            let mut again = Value::clone(&all.remove(at));
            map_mut(&mut again, "").insert("revision".into(), next.into());
            api.update(&gvr::CONTROLLER_REVISIONS, again).await?
        }
        None => api.create(&gvr::CONTROLLER_REVISIONS, fresh(owner, kind, wanted, next)).await?,
    };
    all.push(present.clone());
    Ok(History { all, present })
}

/// Deletes the oldest revisions that are not among `live` (by name), so that as many stay as the owner wants.
pub async fn forget(api: &Api, owner: &Value, history: &History, live: &[&str]) -> Result<(), Status> {
    let limit = owner.int("/spec/revisionHistoryLimit").unwrap_or(10).max(0);
    let unused = history.all.iter().filter(|r| r.uid() != history.present.uid() && !live.contains(&r.name()));
    let unused: Vec<&Object> = unused.collect();
    let excess = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for revision in &unused[..excess] {
        api.delete(&gvr::CONTROLLER_REVISIONS, revision).await?;
    }
    Ok(())
}

/// The number of a revision.
#[must_use]
pub fn number(revision: &Value) -> i64 {
    revision.int("/revision").unwrap_or(0)
}

/// The short hash in a revision's name.
#[must_use]
pub fn hash(revision: &Value) -> &str {
    revision.label(HASH_LABEL).unwrap_or_default()
}

/// The template that a revision keeps.
#[must_use]
pub fn template(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    map_mut(&mut template, "").shift_remove(DIRECTIVE);
    template
}

/// What a revision keeps: a patch that brings the template back.
fn data(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    map_mut(&mut template, "").insert(DIRECTIVE.into(), "replace".into());
    json!({"spec": {"template": template}})
}

fn same(a: &Value, b: &Value) -> bool {
    template::same(&a["spec"]["template"], &b["spec"]["template"])
}

fn fresh(owner: &Value, kind: OwnerKind, data: Value, revision: i64) -> Value {
    let hash = template::hash(&data["spec"]["template"]);
    let mut revision = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", owner.name()),
            "namespace": owner.namespace(),
            "labels": owner["spec"]["template"]["metadata"]["labels"],
            "annotations": owner["metadata"]["annotations"],
            "ownerReferences": [controller_ref(owner, kind.api_version, kind.kind)],
        },
        "data": data,
        "revision": revision,
    });
    map_mut(&mut revision, "/metadata/labels").insert(HASH_LABEL.into(), hash.into());
    map_mut(&mut revision, "/metadata/annotations").shift_remove(LAST_APPLIED);
    revision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_keeps_the_template_and_can_be_found_by_the_owners_selector() {
        let owner = json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "u",
                "annotations": {"kubernetes.io/change-cause": "first", LAST_APPLIED: "{}"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a"}]}}},
        });
        let kind = OwnerKind { api_version: "apps/v1", kind: "StatefulSet" };
        let revision = fresh(&owner, kind, data(&owner), 3);
        assert_eq!(revision.name(), format!("web-{}", hash(&revision)));
        assert_eq!(number(&revision), 3);
        assert_eq!(template(&revision), owner["spec"]["template"]);
        assert_eq!(revision["data"]["spec"]["template"]["$patch"], "replace");
        assert_eq!(revision.annotation("kubernetes.io/change-cause"), Some("first"));
        assert_eq!(revision.annotation(LAST_APPLIED), None);
        assert_eq!(revision.label("app"), Some("web"));
        assert!(same(&revision["data"], &data(&owner)));
    }
}
