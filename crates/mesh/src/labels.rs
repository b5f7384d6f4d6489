//! Labels and the selectors over them.

use std::collections::BTreeMap;

/// Labels of a workload.
pub type Labels = BTreeMap<String, String>;

/// Does `labels` have every pair of `selector`.
pub fn contains_all(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Does a selector that must not be empty choose a workload with these labels.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && contains_all(labels, selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn all_pairs_must_be_there() {
        let have = labels(&[("app", "a"), ("version", "v1")]);
        assert!(contains_all(&have, &labels(&[("app", "a")])));
        assert!(contains_all(&have, &labels(&[])));
        assert!(!contains_all(&have, &labels(&[("app", "b")])));
        assert!(!contains_all(&have, &labels(&[("app", "a"), ("tier", "x")])));
        assert!(selects(&labels(&[("app", "a")]), &have) && !selects(&labels(&[]), &have));
    }
}
