//! What happens to an object between decoding and storing: built-in admission and webhooks.

mod attempt;
mod conditions;
mod hooks;
pub mod pods;
mod policies;
mod review;
mod rules;
mod webhook;

use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;

pub use attempt::{ATTACH, Attempt, EVICTION, EXEC, Foreign, Operation, PORT_FORWARD, SCALE, TOKEN_REQUEST};
pub use conditions::VARIABLES as CONDITION_VARIABLES;
use hooks::Hook;
pub use policies::VARIABLES as POLICY_VARIABLES;
use review::{Answer, Review};
use rules::Matched;
pub use webhook::Webhooks;

use crate::{
    engine::{Call, Engine, present, to_storage},
    object,
    status::Status,
};

/// What the mutating webhooks of one request did so far.
#[derive(Default)]
struct Rounds {
    /// Webhooks that want to see later changes of others.
    interested: Vec<String>,
    /// Those of them that are to be asked again.
    again: Vec<String>,
    changed: bool,
}

impl Rounds {
    /// A webhook changed the object: those before it want to know.
    fn note_change(&mut self) {
        self.changed = true;
        self.again.append(&mut self.interested);
    }
}

impl Engine {
    /// Completes a new or changed object (in its stored form): built-in admission, mutating
    /// webhooks, and both once more where webhooks changed it.
    pub(crate) async fn mutate(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        mut object: Value,
    ) -> Result<Value, Status> {
        pods::admit(self, call, attempt, &mut object).await?;
        let mut rounds = Rounds::default();
        let hooks = hooks::mutating(self, call);
        let mut object = self.ask_in_turn(call, attempt, &hooks, Some(object), &mut rounds).await?.unwrap_or_default();
        if rounds.changed {
            let before = object.clone();
            pods::admit(self, call, attempt, &mut object).await?;
            if object != before {
                rounds.note_change();
            }
            let again = std::mem::take(&mut rounds.again);
            let hooks: Vec<Hook> = hooks.into_iter().filter(|hook| again.contains(&hook.id)).collect();
            object = self.ask_in_turn(call, attempt, &hooks, Some(object), &mut rounds).await?.unwrap_or_default();
        }
        if attempt.operation == Operation::Create && attempt.foreign.is_none() {
            check_identity(call, &object)?;
        }
        Ok(object)
    }

    /// Asks all webhooks about a stream to a pod; none may change what it asks for.
    pub(crate) async fn admit_connection(&self, call: &mut Call, kind: Foreign, options: Value) -> Result<(), Status> {
        let attempt = Attempt::connect(kind);
        let admitted = self.admit_foreign(call, &attempt, options.clone()).await?;
        if admitted == options {
            return Ok(());
        }
        let text = "an admission webhook attempted to modify the object, which is not supported for this operation";
        Err(Status::internal(text))
    }

    /// Asks all webhooks about a deletion.
    pub(crate) async fn admit_without_object(&self, call: &mut Call, attempt: &Attempt<'_>) -> Result<(), Status> {
        let hooks = hooks::mutating(self, call);
        self.ask_in_turn(call, attempt, &hooks, None, &mut Rounds::default()).await?;
        self.validate_by_others(call, attempt, None).await
    }

    /// Lets webhooks change and judge the object of a subresource, which is of a kind of its own.
    pub(crate) async fn admit_foreign(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        object: Value,
    ) -> Result<Value, Status> {
        let object = self.mutate(call, attempt, object).await?;
        self.validate_by_others(call, attempt, Some(&object)).await?;
        Ok(object)
    }

    /// Asks webhooks one after the other, each about what the one before made of the object.
    async fn ask_in_turn(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        hooks: &[Hook],
        mut object: Option<Value>,
        rounds: &mut Rounds,
    ) -> Result<Option<Value>, Status> {
        for hook in hooks {
            let Some(review) = self.review_for(call, attempt, hook, object.as_ref())? else { continue };
            let answer = self.consult(hook, &review).await?;
            if let Some(answer) = answer {
                answer.warnings.iter().for_each(|w| call.warn(w.clone()));
                answer.verdict(&hook.name)?;
                if let Some(patch) = &answer.patch {
                    let changed = patched(hook, &review, patch)?;
                    if object.as_ref() != Some(&changed) {
                        rounds.note_change();
                        object = Some(changed);
                    }
                }
            }
            if hook.wants_changes() {
                rounds.interested.push(hook.id.clone());
            }
        }
        Ok(object)
    }

    /// Asks the policies, then the validating webhooks, all at once.
    pub(crate) async fn validate_by_others(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        object: Option<&Value>,
    ) -> Result<(), Status> {
        policies::judge(self, call, attempt, object)?;
        let mut questions = Vec::new();
        for hook in hooks::validating(self, call) {
            if let Some(review) = self.review_for(call, attempt, &hook, object)? {
                questions.push((hook, review));
            }
        }
        let answers = join_all(questions.iter().map(|(hook, review)| self.consult(hook, review))).await;
        let mut verdict = Ok(());
        for ((hook, _), answer) in questions.iter().zip(answers) {
            let one = answer.and_then(|answer| {
                let Some(answer) = answer else { return Ok(()) };
                answer.warnings.iter().for_each(|w| call.warn(w.clone()));
                answer.verdict(&hook.name)
            });
            verdict = verdict.and(one);
        }
        verdict
    }

    /// The question to a webhook, if the request is one that it wants to see.
    fn review_for(
        &self,
        call: &Call,
        attempt: &Attempt<'_>,
        hook: &Hook,
        object: Option<&Value>,
    ) -> Result<Option<Review>, Status> {
        let objects = concerned(attempt, object);
        let Some(matched) = hook.matching(self, call, attempt.operation, &objects) else { return Ok(None) };
        let review = review_as(call, attempt, matched, object);
        Ok(conditions::hold(hook, call, &review)?.then_some(review))
    }

    /// Asks one webhook; none where it fails and says that this doesn't matter.
    async fn consult(&self, hook: &Hook, review: &Review) -> Result<Option<Answer>, Status> {
        if review.dry_run && !hook.allows_dry_run() {
            let text = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Status::bad_request(text));
        }
        match self.webhooks.ask(self, hook, review).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if hook.ignores_failure() => {
                tracing::warn!(webhook = hook.name, error, "webhook failed; going on without it");
                Ok(None)
            }
            Err(error) => Err(Status::internal(format!("failed calling webhook {:?}: {error}", hook.name))),
        }
    }
}

/// The new and the old object, as far as there are.
fn concerned<'a>(attempt: &'a Attempt<'_>, object: Option<&'a Value>) -> Vec<&'a Value> {
    [object, attempt.old.map(|old| &**old)].into_iter().flatten().collect()
}

/// A request as whoever judges it wants to see it.
fn review_as(call: &Call, attempt: &Attempt<'_>, matched: Matched, object: Option<&Value>) -> Review {
    let stored = attempt.foreign.is_none();
    let shown = |object: &Value| {
        let object = Arc::new(object.clone());
        if stored { present(&matched.resource, &matched.version, &object) } else { object }
    };
    let (old, object) = (attempt.old.map(|old| shown(old)), object.map(shown));
    Review::new(call, attempt, matched, object, old)
}

/// The reviewed object after a webhook's patch, in its stored form.
fn patched(hook: &Hook, review: &Review, patch: &Value) -> Result<Value, Status> {
    let Some(object) = &review.object else {
        return Err(Status::internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    let mut changed = Value::clone(object);
    crate::patch::json(&mut changed, patch).map_err(Status::internal)?;
    let resource = &review.matched.resource;
    if changed["kind"] != object["kind"] || changed["apiVersion"] != object["apiVersion"] {
        let text = format!("admission webhook {:?} attempted to change the object's kind or version", hook.name);
        return Err(Status::internal(text));
    }
    if review.is_stored {
        let version = resource.version(&review.matched.version).ok_or_else(Status::no_such_resource)?;
        let report = version.schema.decode(&mut changed);
        if let Some(text) = report.mistyped {
            return Err(Status::internal(text));
        }
        to_storage(resource, &mut changed);
    }
    Ok(changed)
}

/// Webhooks may not make an object another one.
fn check_identity(call: &mut Call, object: &Value) -> Result<(), Status> {
    if call.resource.namespaced && object::namespace(object) != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object::name(object).clone_into(&mut call.name);
    Ok(())
}
