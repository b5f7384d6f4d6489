//! The rules of the house: which crate may import which, file sizes, left-overs, licences.

mod edges;
mod files;
mod licences;

use std::path::{Path, PathBuf};

/// Runs every check and fails with the full list of what it found.
pub fn run() -> anyhow::Result<()> {
    let root = repository_root();
    let mut findings = edges::check(&root)?;
    findings.extend(files::check(&root)?);
    findings.extend(licences::check(&root)?);
    if findings.is_empty() {
        println!("tidy: all rules hold");
        return Ok(());
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    anyhow::bail!("{} rules of the house are broken", findings.len())
}

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}
