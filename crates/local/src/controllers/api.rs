//! The API server as controllers use it.

use lateen_apiserver::{Client, DeleteOptions, Gvr, Object, Status};
use serde_json::{Value, json};

use super::object::{Meta, controller_ref, map_mut};
use super::selector;

/// A namespaced object's key in a work queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The object's namespace; "" for a cluster-wide one.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Key {
    /// A key by its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of `object`.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        Self::new(object.namespace(), object.name())
    }
}

/// A kind that controls others, as written in their owner references.
#[derive(Debug, Clone, Copy)]
pub struct OwnerKind {
    /// As `apps/v1`.
    pub api_version: &'static str,
    /// As `Deployment`.
    pub kind: &'static str,
}

/// The in-process client, with what controllers need on top.
#[derive(Clone)]
pub struct Api {
    /// The client itself.
    pub client: Client,
}

impl Api {
    /// The object, or `None` where there is none.
    pub async fn find(&self, gvr: &Gvr, namespace: &str, name: &str) -> Result<Option<Object>, Status> {
        match self.client.get(gvr, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// All objects of a kind in one namespace, as they are now.
    pub async fn list_in(&self, gvr: &Gvr, namespace: &str) -> Result<Vec<Object>, Status> {
        Ok(self.client.list(gvr, Some(namespace)).await?.items)
    }

    /// Make an object.
    pub async fn create(&self, gvr: &Gvr, object: Value) -> Result<Object, Status> {
        self.client.create(gvr, "", object).await
    }

    /// Write an object back; a conflict is an error and the work is tried again.
    pub async fn update(&self, gvr: &Gvr, object: Value) -> Result<Object, Status> {
        let namespace = object.namespace().to_owned();
        self.client.update(gvr, &namespace, object).await
    }

    /// Put `status` into `object` and write it, if that changes anything.
    pub async fn set_status(&self, gvr: &Gvr, object: &Object, status: Value) -> Result<Object, Status> {
        if object["status"] == status {
            return Ok(object.clone());
        }
        let mut new = Value::clone(object);
        map_mut(&mut new, "").insert("status".into(), status);
        self.client.update_status(gvr, object.namespace(), new).await
    }

    /// Delete this very object; that it is gone already is fine.
    pub async fn delete(&self, gvr: &Gvr, object: &Value) -> Result<(), Status> {
        self.delete_with(gvr, object, None).await
    }

    /// The same, saying what becomes of the objects that it owns.
    pub async fn delete_with(&self, gvr: &Gvr, object: &Value, propagation: Option<&str>) -> Result<(), Status> {
        let options = DeleteOptions {
            uid: Some(object.uid().to_owned()),
            propagation_policy: propagation.map(str::to_owned),
            ..DeleteOptions::default()
        };
        let done = self.client.delete(gvr, object.namespace(), object.name(), &options);
        match done.await {
            Ok(_) => Ok(()),
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// The objects of `gvr` that `owner` controls.
    ///
    /// Those that match its selector and have no controller are adopted; those that it controls
    /// but no longer match are let go.
    pub async fn claim(&self, gvr: &Gvr, owner: &Value, kind: OwnerKind) -> Result<Vec<Object>, Status> {
        self.claim_if(gvr, owner, kind, |_| true).await
    }

    /// The same, of the objects that also pass a test.
    pub async fn claim_if(
        &self,
        gvr: &Gvr,
        owner: &Value,
        kind: OwnerKind,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Object>, Status> {
        let mut mine = Vec::new();
        for object in self.list_in(gvr, owner.namespace()).await? {
            match claim_of(owner, &object, fits(&object)) {
                Claim::Mine => mine.push(object),
                Claim::None => {}
                Claim::Adopt => mine.push(self.update(gvr, adopted(&object, owner, kind)).await?),
                Claim::Release => {
                    self.update(gvr, released(&object, owner)).await?;
                }
            }
        }
        Ok(mine)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Mine,
    Adopt,
    Release,
    None,
}

fn claim_of(owner: &Value, object: &Value, fits: bool) -> Claim {
    let labels = &object["metadata"]["labels"];
    let fits = fits && selector::matches(&owner["spec"]["selector"], labels);
    match object.controller() {
        Some(reference) if reference["uid"] == owner.uid() => {
            if fits || owner.is_terminating() || object.is_terminating() { Claim::Mine } else { Claim::Release }
        }
        Some(_) => Claim::None,
        None if fits && !owner.is_terminating() && !object.is_terminating() => Claim::Adopt,
        None => Claim::None,
    }
}

fn adopted(object: &Value, owner: &Value, kind: OwnerKind) -> Value {
    let mut object = object.clone();
    let reference = controller_ref(owner, kind.api_version, kind.kind);
    match map_mut(&mut object, "/metadata").entry("ownerReferences").or_insert(json!([])) {
        Value::Array(list) => list.push(reference),
        other => *other = json!([reference]),
    }
    object
}

fn released(object: &Value, owner: &Value) -> Value {
    let mut object = object.clone();
    if let Some(list) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        list.retain(|r| r["uid"] != owner.uid());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_that_fit_are_adopted_and_strays_let_go() {
        let owner = json!({
            "metadata": {"name": "o", "uid": "1"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}},
        });
        let object = |app: &str, controller: Option<&str>| {
            let refs: Vec<Value> = controller.iter().map(|uid| json!({"uid": uid, "controller": true})).collect();
            json!({"metadata": {"labels": {"app": app}, "ownerReferences": refs}})
        };
        let cases = [
            (object("a", Some("1")), Claim::Mine),
            (object("b", Some("1")), Claim::Release),
            (object("a", Some("2")), Claim::None),
            (object("a", None), Claim::Adopt),
            (object("b", None), Claim::None),
        ];
        for (object, expect) in cases {
            assert_eq!(claim_of(&owner, &object, true), expect, "{object}");
        }
        let kind = OwnerKind { api_version: "apps/v1", kind: "ReplicaSet" };
        let taken = adopted(&object("a", None), &owner, kind);
        assert_eq!(claim_of(&owner, &taken, true), Claim::Mine);
        assert_eq!(released(&taken, &owner)["metadata"]["ownerReferences"], json!([]));
    }
}
