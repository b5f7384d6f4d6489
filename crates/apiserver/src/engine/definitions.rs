//! What a CustomResourceDefinition means to other definitions, and its end to its objects.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    Call, DeleteOptions, Engine, convert,
    delete::{Deleted, add_finalizer, mark},
};
use crate::{
    clock,
    object::{self, Object},
    registry::custom,
    status::Status,
};

/// Where definitions are stored.
pub const COLLECTION: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Holds a definition until its objects have gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// 405 for new objects of a definition that is being deleted.
pub fn refuse_new() -> Status {
    Status::method_not_allowed_because("create not allowed while custom resource definition is terminating")
}

/// Names that other definitions of a group have.
#[derive(Default)]
struct Taken {
    /// Plural, singular and short names.
    resources: BTreeSet<String>,
    /// Kinds and kinds of lists.
    kinds: BTreeSet<String>,
}

impl Taken {
    fn note(&mut self, definition: &Value) {
        let names = &definition["status"]["acceptedNames"];
        let text = |name: &str| names[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.resources.extend(["plural", "singular"].into_iter().filter_map(text));
        self.resources.extend(texts(&names["shortNames"]).map(str::to_owned));
        self.kinds.extend(["kind", "listKind"].into_iter().filter_map(text));
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl Engine {
    /// Accepts the names of a new or changed definition as far as no other one of its group has them.
    pub(super) fn accept_names(&self, call: &Call, definition: &mut Value, old: Option<&Value>) {
        if &*call.resource.collection != COLLECTION {
            return;
        }
        let mut taken = Taken::default();
        let all = self.store.list(COLLECTION, None);
        all.objects()
            .filter(|other| other["spec"]["group"] == definition["spec"]["group"])
            .filter(|other| object::name(other) != object::name(definition))
            .for_each(|other| taken.note(&other));
        accept(definition, &old.map_or(Value::Null, |old| old["status"].clone()), &taken);
    }

    /// Looks again at definitions whose names were not free, now that another one has changed or gone.
    pub(super) async fn accept_freed_names(&self, call: &Call) -> Result<(), Status> {
        let waiting = self.store.list(COLLECTION, None);
        let refused = |definition: &Object| {
            let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|c| c["type"] == "NamesAccepted" && c["status"] == "False")
        };
        for old in waiting.objects().filter(refused).filter(|old| object::name(old) != call.name) {
            let mut one = call.clone();
            object::name(&old).clone_into(&mut one.name);
            let mut new = Value::clone(&old);
            one.resource.rules.prepare_update(&mut new, &old);
            self.accept_names(&one, &mut new, Some(&old));
            if new != *old {
                // Whoever changed it meanwhile has had its names looked at too.
                let done = self.put(&one, object::resource_version(&old), new).await;
                done.map(drop).or_else(|status| if status.is_conflict() { Ok(()) } else { Err(status) })?;
            }
        }
        Ok(())
    }

    /// A definition goes when all of its objects have: those without finalizers at once.
    pub(super) async fn delete_definition(&self, call: &Call, mut new: Value, version: u64) -> Result<Deleted, Status> {
        add_finalizer(&mut new, CLEANUP);
        mark(call, &mut new, 0);
        let (conditions, text) = (new["status"]["conditions"].clone(), "CustomResource deletion is in progress");
        set_condition(&mut new, &conditions, ["Terminating", "True", "InstanceDeletionInProgress", text]);
        let marked = self.put(call, version, new).await?;
        self.delete_instances(call, &marked).await?;
        self.finish_definition(call).await?;
        let left = self.store.latest(&Self::key(call));
        let gone = left.is_none();
        let object = convert::present(&call.resource, &call.version, &left.unwrap_or(marked));
        Ok(Deleted { object, gone })
    }

    async fn delete_instances(&self, call: &Call, definition: &Value) -> Result<(), Status> {
        let Some(resource) = custom::resource(definition).map(Arc::new) else { return Ok(()) };
        for object in self.store.list(&resource.collection, None).objects() {
            let mut one = call.clone();
            one.resource = Arc::clone(&resource);
            one.version.clone_from(&resource.storage);
            object::namespace(&object).clone_into(&mut one.namespace);
            object::name(&object).clone_into(&mut one.name);
            loop {
                let Some(old) = self.store.latest(&Self::key(&one)) else { break };
                match self.delete_once(&mut one, &DeleteOptions::default(), &old).await {
                    Err(status) if status.is_conflict() => {}
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// The last object of a definition that is being deleted takes it along.
    pub(super) async fn after_instance(&self, call: &Call) -> Result<(), Status> {
        let resource = &call.resource;
        let current = self.registry().by_plural(&resource.group, &resource.plural).cloned();
        if !current.is_some_and(|current| current.terminating) {
            return Ok(());
        }
        let definitions = self.registry().by_plural("apiextensions.k8s.io", "customresourcedefinitions").cloned();
        let mut one = Call::internal(definitions.ok_or_else(Status::no_such_resource)?);
        one.name = format!("{}.{}", resource.plural, resource.group);
        Box::pin(self.finish_definition(&one)).await
    }

    /// Lets a definition that is being deleted go where nothing is left of it.
    pub(super) async fn finish_definition(&self, call: &Call) -> Result<(), Status> {
        loop {
            let Some(old) = self.store.latest(&Self::key(call)).filter(|old| object::is_deleting(old)) else {
                return Ok(());
            };
            let spec = &old["spec"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let instances = format!("{}/{}", text(&spec["group"]), text(&spec["names"]["plural"]));
            if custom::resource(&old).is_some() && self.store.has_any(&instances) {
                return Ok(());
            }
            let mut new = Value::clone(&old);
            if let Some(Value::Array(finalizers)) = new.pointer_mut("/metadata/finalizers") {
                finalizers.retain(|finalizer| finalizer != CLEANUP);
            }
            let version = object::resource_version(&old);
            let done = if object::has_finalizers(&new) {
                self.put(call, version, new).await
            } else {
                self.remove(call, version).await
            };
            match done {
                Err(status) if status.is_conflict() => {}
                other => return other.map(drop),
            }
        }
    }

    /// Ends what was being deleted when the server last stopped.
    pub(super) async fn finish_definitions(&self) -> Result<(), Status> {
        let registry = self.registry();
        let definitions = registry.by_plural("apiextensions.k8s.io", "customresourcedefinitions");
        let Some(resource) = definitions.cloned() else { return Ok(()) };
        let mut call = Call::internal(resource);
        for definition in self.store.list(COLLECTION, None).objects().filter(|d| object::is_deleting(d)) {
            object::name(&definition).clone_into(&mut call.name);
            self.delete_instances(&call, &definition).await?;
            self.finish_definition(&call).await?;
        }
        Ok(())
    }
}

/// Sets `status` by which of the wanted names are free; names that it had already stay its own.
fn accept(definition: &mut Value, old: &Value, taken: &Taken) {
    let wanted = definition["spec"]["names"].clone();
    let had = &old["acceptedNames"];
    let mut accepted = wanted.clone();
    let mut conflict = None;
    let fields = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ];
    for (field, reason, others) in fields {
        let names = &wanted[field];
        let each = names.as_str().into_iter().chain(texts(names));
        let used: Vec<String> =
            each.filter(|name| others.contains(*name)).map(|name| format!("{name:?} is already in use")).collect();
        if used.is_empty() || *names == had[field] {
            continue;
        }
        conflict = Some((reason, used.join(", ")));
        match had.get(field) {
            Some(name) => accepted[field] = name.clone(),
            None => drop(object::as_map(&mut accepted).shift_remove(field)),
        }
    }
    let Some((reason, text)) = conflict else { return };
    definition["status"]["acceptedNames"] = accepted;
    set_condition(definition, &old["conditions"], ["NamesAccepted", "False", reason, &text]);
    let conditions = old["conditions"].as_array().into_iter().flatten();
    if !conditions.into_iter().any(|c| c["type"] == "Established" && c["status"] == "True") {
        let text = "not all names are accepted";
        set_condition(definition, &old["conditions"], ["Established", "False", "NotAccepted", text]);
    }
}

/// Sets a condition: type, status, reason, message. It is as old as it was in `before`, if it was the same there.
fn set_condition(definition: &mut Value, before: &Value, [kind, status, reason, message]: [&str; 4]) {
    let mut known = before.as_array().into_iter().flatten();
    let since = known.find(|condition| condition["type"] == kind && condition["status"] == status);
    let since = since.map_or_else(|| clock::now().into(), |condition| condition["lastTransitionTime"].clone());
    let condition = json!({
        "lastTransitionTime": since, "message": message, "reason": reason, "status": status, "type": kind,
    });
    let conditions = &mut definition["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(list) = conditions else { return };
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(found) => *found = condition,
        None => list.push(condition),
    }
}
