//! ClusterRoles that are put together from others by label.

use serde_json::Value;

use crate::{
    engine::Engine,
    object::{self, Object},
    selector::LabelSelector,
    status::Status,
    store::{Key, StoreError},
};

/// The collection of ClusterRoles.
pub(crate) const ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
/// A role that aggregates roles that aggregate: more rounds than anybody builds.
const ROUNDS: usize = 8;

impl Engine {
    /// Brings the rules of aggregating ClusterRoles up to date. Runs after every write of a
    /// ClusterRole, so that the last of several writes at once sees them all.
    pub(crate) async fn aggregate_roles(&self) -> Result<(), Status> {
        for _ in 0..ROUNDS {
            let roles: Vec<Object> = self.store.list(ROLES, None).objects().collect();
            let stale: Vec<Value> = roles.iter().filter_map(|role| refreshed(role, &roles)).collect();
            if stale.is_empty() {
                break;
            }
            for role in stale {
                let key = Key::new(&ROLES.into(), "", object::name(&role));
                match self.store.put(key, object::resource_version(&role), role).await {
                    // Somebody else wrote it meanwhile: the next round sees what.
                    Ok(_) | Err(StoreError::Conflict) => {}
                    Err(error) => return Err(Status::internal(error)),
                }
            }
        }
        Ok(())
    }
}

/// The role with the rules of those that it selects; none where it has them already.
fn refreshed(role: &Object, all: &[Object]) -> Option<Value> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut rules: Vec<&Value> = Vec::new();
    for selector in selectors.iter().filter_map(|s| LabelSelector::from_json(s).ok()) {
        let chosen =
            all.iter().filter(|r| object::name(r) != object::name(role) && selector.matches(object::labels(r)));
        for rule in chosen.flat_map(|r| r["rules"].as_array().into_iter().flatten()) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    if role["rules"].as_array().is_some_and(|has| has.iter().collect::<Vec<_>>() == rules) {
        return None;
    }
    let mut changed = Value::clone(role);
    changed["rules"] = rules.into_iter().cloned().collect();
    Some(changed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn rules_come_from_the_selected_roles_once_each() {
        let rule = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
        let part = |name: &str, label: &str, rules: Value| {
            Arc::new(json!({"metadata": {"name": name, "labels": {"part": label}}, "rules": rules}))
        };
        let whole = Arc::new(json!({
            "metadata": {"name": "whole", "labels": {"part": "yes"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]},
            "rules": [rule("stale")],
        }));
        let mut all = vec![
            part("a", "yes", json!([rule("pods"), rule("services")])),
            part("b", "no", json!([rule("secrets")])),
            part("c", "yes", json!([rule("pods")])),
            whole.clone(),
        ];
        let fresh = refreshed(&whole, &all).unwrap();
        assert_eq!(fresh["rules"], json!([rule("pods"), rule("services")]));
        all[3] = Arc::new(fresh);
        assert_eq!(refreshed(&all[3], &all), None);
        assert_eq!(refreshed(&all[0], &all), None);
    }
}
