//! Nobody may give away more than they hold: the check on writes of roles and bindings.

use serde_json::Value;

use super::{
    Action, GROUP, MASTERS, User, cover,
    rule::{Rule, quoted},
};
use crate::{
    engine::{Call, Engine},
    object,
    status::Status,
};

impl Engine {
    /// Refuses a new or changed role or binding that would give away what its writer does not
    /// hold; does nothing to other kinds.
    pub(crate) fn check_escalation(&self, call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if call.resource.group != GROUP || call.user.is_in(MASTERS) || old.is_some_and(|old| is_only_metadata(new, old))
        {
            return Ok(());
        }
        match call.resource.plural.as_str() {
            "roles" | "clusterroles" => self.check_role(call, new, old),
            "rolebindings" | "clusterrolebindings" => self.check_binding(call, new),
            _ => Ok(()),
        }
    }

    fn check_role(&self, call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if self.holds(call, "escalate", &call.resource.plural, object::name(new)) {
            return Ok(());
        }
        let aggregates = |role: &Value| role["aggregationRule"].is_object();
        if aggregates(new) || old.is_some_and(aggregates) {
            let text = "must have cluster-admin privileges to use the aggregationRule";
            self.confirm_held(call, &everything()).map_err(|_| call.forbidden(text))?;
        }
        self.confirm_held(call, &Rule::parse_all(new)).map_err(|text| call.forbidden(text))
    }

    fn check_binding(&self, call: &Call, binding: &Value) -> Result<(), Status> {
        let role = &binding["roleRef"];
        let name = role["name"].as_str().unwrap_or_default();
        let plural = if role["kind"] == "Role" { "roles" } else { "clusterroles" };
        if self.holds(call, "bind", plural, name) {
            return Ok(());
        }
        let singular = plural.trim_end_matches('s');
        let rules = self.rbac.role_rules(role, &call.namespace);
        let rules = rules.map_err(|_| Status::not_found(GROUP, singular, name))?;
        self.confirm_held(call, &rules).map_err(|text| call.forbidden(text))
    }

    fn holds(&self, call: &Call, verb: &str, resource: &str, name: &str) -> bool {
        let action = Action { verb, group: GROUP, resource, namespace: &call.namespace, name, ..Action::default() };
        self.rbac.decide(&call.user, &action).allowed
    }

    fn confirm_held(&self, call: &Call, wanted: &[Rule]) -> Result<(), String> {
        let (held, errors) = self.rbac.rules_for(&call.user, &call.namespace);
        let missing = cover::compact(cover::missing(&held, wanted));
        if missing.is_empty() { Ok(()) } else { Err(refused(&call.user, &missing, &errors)) }
    }
}

/// A change for owners and finalizers only, as deletions make it, gives nothing away.
fn is_only_metadata(new: &Value, old: &Value) -> bool {
    let rest = |value: &Value| {
        let mut value = value.clone();
        let metadata = object::map_at(&mut value, "metadata");
        for field in ["ownerReferences", "finalizers", "resourceVersion", "managedFields"] {
            metadata.shift_remove(field);
        }
        value
    };
    rest(new) == rest(old)
}

fn everything() -> [Rule; 2] {
    let star = || vec!["*".to_owned()];
    [
        Rule { verbs: star(), groups: star(), resources: star(), ..Rule::default() },
        Rule { verbs: star(), paths: star(), ..Rule::default() },
    ]
}

fn refused(user: &User, missing: &[Rule], errors: &[String]) -> String {
    let mut lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lines.sort();
    lines.dedup();
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(&user.groups),
        lines.join("\n")
    );
    if !errors.is_empty() {
        text.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
    }
    text
}
