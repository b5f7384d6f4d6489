//! Namespaces chosen by listeners and gateways.

use lateen_api::gateway_api as api;
use lateen_mesh::labels::{self, Labels};

use super::Cluster;

/// Namespaces that something may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Namespaces {
    /// All.
    All,
    /// These.
    Only(Vec<String>),
}

impl Namespaces {
    /// Those that a choice made in `own` means; `default` is what counts where nothing is said.
    pub(super) fn of(choice: Option<&api::RouteNamespaces>, default: &str, own: &str, cluster: &dyn Cluster) -> Self {
        let from = choice.and_then(|choice| choice.from.as_deref()).unwrap_or(default);
        match (from, choice.and_then(|choice| choice.selector.as_ref())) {
            ("All", _) => Self::All,
            ("Same", _) => Self::Only(vec![own.to_owned()]),
            ("Selector", Some(selector)) => {
                let chosen = cluster.namespaces().into_iter().filter(|(_, labels)| selects(selector, labels));
                Self::Only(chosen.map(|(name, _)| name.to_owned()).collect())
            }
            _ => Self::Only(Vec::new()),
        }
    }

    pub(super) fn contain(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// In the form of an Istio Gateway's hosts: `*`, names, or `~` for none.
    pub(super) fn prefixes(&self) -> Vec<&str> {
        match self {
            Self::All => vec!["*"],
            Self::Only(names) if names.is_empty() => vec!["~"],
            Self::Only(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

fn selects(selector: &api::Selector, all: &Labels) -> bool {
    let holds = |requirement: &api::SelectorRequirement| {
        let value = all.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.contains(value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    labels::contains_all(all, &selector.match_labels) && selector.match_expressions.iter().all(holds)
}
