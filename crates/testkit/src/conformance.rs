//! Reads the conformance data and keeps score: which cases pass, which are expected not to, and why.

use std::collections::{BTreeMap, BTreeSet};
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
    /// A case that fails without being listed, and a listed case that passes.
    pub fn settle(self) -> anyhow::Result<()> {
        println!("{}: passed {} of {}", self.group, self.passed, self.passed + self.failed.len());
        let expected = expected_failures(self.group)?;
        let unexpected: Vec<_> = self
            .failed
            .iter()
            .filter(|(id, _)| !expected.contains_key(*id))
            .map(|(id, why)| format!("{id}: {why}"))
            .collect();
        let failed: BTreeSet<_> = self.failed.keys().collect();
        let cured: Vec<_> = expected.keys().filter(|id| !failed.contains(id)).cloned().collect();
        for (id, reason) in &expected {
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

/// `tests/expected-failures/GROUP.yaml`: a mapping from case to reason.
fn expected_failures(group: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/expected-failures/{group}.yaml"));
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?)
}
