//! One rule of a role.

use std::fmt;

use serde_json::{Value, json};

use super::Action;

const ALL: &str = "*";

/// What a role allows: verbs on resources, or on paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    /// Plural names, with `/subresource` where it is for that.
    pub resources: Vec<String>,
    /// Only these objects; all where empty.
    pub names: Vec<String>,
    pub paths: Vec<String>,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted || item == ALL)
}

/// Whether a rule's path stands for `path`: the same, or the start of it before a `*`.
fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

impl Rule {
    /// Reads a rule; what isn't text is left out.
    pub fn parse(value: &Value) -> Self {
        Self {
            verbs: texts(&value["verbs"]),
            groups: texts(&value["apiGroups"]),
            resources: texts(&value["resources"]),
            names: texts(&value["resourceNames"]),
            paths: texts(&value["nonResourceURLs"]),
        }
    }

    /// The rules of a role.
    pub fn parse_all(role: &Value) -> Vec<Self> {
        role["rules"].as_array().into_iter().flatten().map(Self::parse).collect()
    }

    /// The wire form.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"verbs": self.verbs});
        let lists = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            value[key] = json!(list);
        }
        value
    }

    /// Whether the rule allows an action.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        if !has_or_all(&self.verbs, action.verb) {
            return false;
        }
        if !action.is_resource() {
            return self.paths.iter().any(|pattern| path_matches(pattern, action.path));
        }
        has_or_all(&self.groups, action.group)
            && self.resources.iter().any(|r| resource_matches(r, action.resource, action.subresource))
            && (self.names.is_empty() || has(&self.names, action.name))
    }

    /// Whether everything that `other` allows is allowed by this rule alone.
    pub fn covers(&self, other: &Self) -> bool {
        let all = |ours: &[String], theirs: &[String]| has(ours, ALL) || theirs.iter().all(|t| has(ours, t));
        let resource = |r: &str| {
            let (plural, sub) = r.split_once('/').unwrap_or((r, ""));
            self.resources.iter().any(|ours| resource_matches(ours, plural, sub))
        };
        let names =
            self.names.is_empty() || (!other.names.is_empty() && other.names.iter().all(|n| has(&self.names, n)));
        all(&self.verbs, &other.verbs)
            && all(&self.groups, &other.groups)
            && other.resources.iter().all(|r| resource(r))
            && names
            && other.paths.iter().all(|path| self.paths.iter().any(|pattern| path_matches(pattern, path)))
    }
}

/// Whether a rule's resource stands for this one: `*` for all, `*/scale` for a subresource of all.
fn resource_matches(pattern: &str, plural: &str, subresource: &str) -> bool {
    if pattern == ALL {
        return true;
    }
    let (wanted, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    sub == subresource && (wanted == plural || (wanted == ALL && !sub.is_empty()))
}

/// As refusals show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let shown = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// A list as Go's `%q` writes it.
pub fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Rule {
        Rule::parse(&json!({"apiGroups": groups, "resources": resources, "verbs": verbs}))
    }

    #[test]
    fn rules_allow_what_they_name() {
        let get = |resource: &'static str, subresource: &'static str| Action {
            verb: "get",
            resource,
            subresource,
            name: "a",
            ..Action::default()
        };
        let cases = [
            (rule(&[""], &["pods"], &["get"]), get("pods", ""), true),
            (rule(&[""], &["pods"], &["get"]), get("pods", "log"), false),
            (rule(&[""], &["pods/log"], &["get"]), get("pods", "log"), true),
            (rule(&[""], &["pods/log"], &["get"]), get("pods", ""), false),
            (rule(&[""], &["pods/*"], &["get"]), get("pods", "log"), false),
            (rule(&[""], &["*/log"], &["get"]), get("pods", "log"), true),
            (rule(&[""], &["*"], &["get"]), get("pods", "log"), true),
            (rule(&["apps"], &["*"], &["*"]), get("pods", ""), false),
            (rule(&["*"], &["pods"], &["list"]), get("pods", ""), false),
        ];
        for (rule, action, expected) in cases {
            assert_eq!(rule.allows(&action), expected, "{rule} {action:?}");
        }
    }

    #[test]
    fn rules_may_be_for_some_objects_only() {
        let named = Rule { names: vec!["a".into()], ..rule(&[""], &["secrets"], &["*"]) };
        let action = |verb, name| Action { verb, resource: "secrets", name, ..Action::default() };
        assert!(named.allows(&action("get", "a")));
        assert!(!named.allows(&action("get", "b")));
        assert!(!named.allows(&action("list", "")));
        assert!(!named.allows(&action("create", "")));
    }

    #[test]
    fn paths_may_end_in_a_star() {
        let get = |path| Action { verb: "get", path, ..Action::default() };
        let rule = Rule::parse(&json!({"nonResourceURLs": ["/healthz", "/api/*"], "verbs": ["get"]}));
        assert!(rule.allows(&get("/healthz")) && rule.allows(&get("/api/v1")));
        assert!(!rule.allows(&get("/healthz/etcd")) && !rule.allows(&get("/api")));
        let everything = Rule::parse(&json!({"nonResourceURLs": ["*"], "verbs": ["*"]}));
        assert!(everything.allows(&get("/anything")));
        assert!(!everything.allows(&Action { verb: "get", resource: "pods", ..Action::default() }));
    }
}
