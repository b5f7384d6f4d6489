//! Reads the conformance data and keeps score: which cases pass, which are expected not to, and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::cluster::repository;

/// The folder with the data: `LATEEN_CONFORMANCE`, else beside the repository. `None` where it is absent.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let path = std::env::var_os("LATEEN_CONFORMANCE")
        .map_or_else(|| repository().join("../shared/conformance"), PathBuf::from);
    path.is_dir().then_some(path)
}

/// Every YAML file directly in `dir`, parsed, with its name without the ending; sorted.
///
/// # Errors
/// When a file can't be read or does not have the expected shape.
pub fn read_all<T: DeserializeOwned>(dir: &Path) -> anyhow::Result<Vec<(String, T)>> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)?;
            let parsed =
                serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            Ok((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), parsed))
        })
        .collect()
}

/// What the ids of cases must hold to be run: `LATEEN_CONFORMANCE_CASES`, for working on a few of them.
fn asked_for() -> Option<String> {
    std::env::var("LATEEN_CONFORMANCE_CASES").ok().filter(|text| !text.is_empty())
}

/// Whether a case is to be run.
#[must_use]
pub fn is_asked_for(id: &str) -> bool {
    asked_for().is_none_or(|text| id.contains(&text))
}

/// The score of one group.
pub struct Score {
    group: &'static str,
    passed: usize,
    failed: BTreeMap<String, String>,
}

impl Score {
    /// An empty score for `group`.
    #[must_use]
    pub fn new(group: &'static str) -> Self {
        Self { group, passed: 0, failed: BTreeMap::new() }
    }

    /// Counts one case or call.
    pub fn count(&mut self, id: String, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(reason) => drop(self.failed.insert(id, reason)),
        }
    }

    /// Prints the line of this group and compares the failures with the checked-in list.
    ///
    /// # Errors
    /// A case that fails without being listed; where all cases were run, also a listed case that passes.
    pub fn settle(self) -> anyhow::Result<()> {
        println!("{}: passed {} of {}", self.group, self.passed, self.passed + self.failed.len());
        let expected = Expected::of_group(self.group)?;
        let unexpected: Vec<_> =
            self.failed.iter().filter(|(id, _)| !expected.covers(id)).map(|(id, why)| format!("{id}: {why}")).collect();
        let failed: Vec<_> = self.failed.keys().map(String::as_str).collect();
        let cured = if asked_for().is_some() { Vec::new() } else { expected.cured(&failed) };
        for (id, reason) in &expected.0 {
            println!("  expected failure: {id} ({reason})");
        }
        anyhow::ensure!(
            unexpected.is_empty(),
            "{} fail without being listed:\n{}",
            unexpected.len(),
            unexpected.join("\n")
        );
        anyhow::ensure!(cured.is_empty(), "these pass or are gone; take them off the list:\n{}", cured.join("\n"));
        Ok(())
    }
}

/// The failures that are expected, each with its reason. A name that ends in `*` stands for all that begin like it.
pub struct Expected(BTreeMap<String, String>);

impl Expected {
    /// Reads `tests/expected-failures/GROUP.yaml`: a mapping from case to reason.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn of_group(group: &str) -> anyhow::Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/expected-failures/{group}.yaml"));
        if !path.exists() {
            return Ok(Self(BTreeMap::new()));
        }
        Ok(Self(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?))
    }

    /// Whether `id` is expected to fail.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        self.0.keys().any(|name| names(name, id))
    }

    /// The names on the list that none of the failures bears out.
    fn cured(&self, failed: &[&str]) -> Vec<String> {
        self.0.keys().filter(|name| !failed.iter().any(|id| names(name, id))).cloned().collect()
    }
}

fn names(name: &str, id: &str) -> bool {
    name.strip_suffix('*').map_or(name == id, |start| id.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_that_begin_alike_until_none_of_them_fails() {
        let expected = Expected([("gateway/*", "later"), ("dns/a", "later")].map(|(a, b)| (a.into(), b.into())).into());
        assert!(expected.covers("gateway/404#0") && expected.covers("dns/a"));
        assert!(!expected.covers("dns/a/tcp") && !expected.covers("host/gateway/404"));
        assert_eq!(expected.cured(&["gateway/404#0"]), ["dns/a"]);
        assert_eq!(expected.cured(&["dns/a"]), ["gateway/*"]);
    }
}
