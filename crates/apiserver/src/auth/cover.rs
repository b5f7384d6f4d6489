//! Whether what somebody holds includes what somebody is to be given.

use super::rule::Rule;

/// What of `wanted` none of the rules in `held` allows, as rules of one resource and verb each.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(break_down);
    parts.filter(|part| !held.iter().any(|rule| rule.covers(part))).collect()
}

/// A rule as many rules of one verb on one resource, object or path each.
fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut parts = Vec::new();
    for verb in &rule.verbs {
        let one = Rule { verbs: vec![verb.clone()], ..Rule::default() };
        parts.extend(rule.paths.iter().map(|path| Rule { paths: vec![path.clone()], ..one.clone() }));
        for group in &rule.groups {
            for resource in &rule.resources {
                let one = Rule { groups: vec![group.clone()], resources: vec![resource.clone()], ..one.clone() };
                if rule.names.is_empty() {
                    parts.push(one.clone());
                }
                parts.extend(rule.names.iter().map(|name| Rule { names: vec![name.clone()], ..one.clone() }));
            }
        }
    }
    parts
}

/// Puts the verbs of rules for the same thing together again.
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut Rule| {
            rule.paths.is_empty()
                && (&other.groups, &other.resources, &other.names, &other.paths)
                    == (&rule.groups, &rule.resources, &rule.names, &rule.paths)
        };
        match compacted.iter_mut().find(same) {
            Some(other) => {
                let new: Vec<String> = rule.verbs.into_iter().filter(|v| !other.verbs.contains(v)).collect();
                other.verbs.extend(new);
            }
            None => compacted.push(rule),
        }
    }
    compacted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(text: &serde_json::Value) -> Vec<Rule> {
        Rule::parse_all(&json!({"rules": text}))
    }

    #[test]
    fn what_is_missing_is_named_by_resource() {
        let held = rules(&json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["*"]},
            {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["update"]},
        ]));
        let cases = [
            (json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]), vec![]),
            (
                json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]),
                vec!["{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"],
            ),
            (json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"]}]), vec![]),
            (
                json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]),
                vec!["{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"],
            ),
            (json!([{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]}]), vec![]),
            (
                json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]),
                vec!["{NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}"],
            ),
        ];
        for (wanted, expected) in cases {
            let found: Vec<String> = compact(missing(&held, &rules(&wanted))).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{wanted}");
        }
    }
}
