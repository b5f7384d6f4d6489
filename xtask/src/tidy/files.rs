//! Source files: size, left-overs, names that say nothing.

use std::path::{Path, PathBuf};

/// No source file is longer than this; beyond it a reader loses the thread.
const LONGEST: usize = 700;
/// Nine files of ten have at most this many lines of code (tests in the file do not count).
const NINE_OF_TEN: usize = 450;
const VAGUE_NAMES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "misc.rs"];
const LEFT_OVERS: &[&str] = &["todo!(", "unimplemented!(", "FIXME", "dbg!(", "allow(dead_code)"];

/// Checks every `.rs` file under `crates` and `xtask`.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for top in ["crates", "xtask"] {
        collect(&root.join(top), &mut paths)?;
    }
    let mut findings = Vec::new();
    let mut sizes = Vec::new();
    for path in &paths {
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let text = std::fs::read_to_string(path)?;
        let lines = text.lines().count();
        if lines > LONGEST {
            findings.push(format!("{shown}: {lines} lines; split it (limit {LONGEST})"));
        }
        if path.file_name().is_some_and(|name| VAGUE_NAMES.iter().any(|vague| name == *vague)) {
            findings.push(format!("{shown}: name the file after what it holds"));
        }
        if !shown.starts_with("xtask/src/tidy") {
            findings.extend(left_overs(&shown, &text));
        }
        if !shown.contains("/tests/") {
            sizes.push(text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count());
        }
    }
    sizes.sort_unstable();
    if let Some(size) = sizes.get(sizes.len() * 9 / 10)
        && *size > NINE_OF_TEN
    {
        findings.push(format!("one file of ten has more than {size} lines of code (limit {NINE_OF_TEN})"));
    }
    Ok(findings)
}

fn left_overs(shown: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in LEFT_OVERS {
            if line.contains(word) {
                findings.push(format!("{shown}:{}: left over: {word}", number + 1));
            }
        }
        if line.contains(concat!("TO", "DO")) || line.contains("#[ignore") {
            findings.push(format!("{shown}:{}: finish it, or write it in CHANGELOG.md as not there", number + 1));
        }
    }
    findings
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}
