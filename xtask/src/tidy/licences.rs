//! Licences of everything that goes into the binary: permissive ones only.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// SPDX identifiers that a user of an Apache-2.0 binary can live with.
const PERMISSIVE: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "CC0-1.0",
    "BSL-1.0",
    "0BSD",
    "Unlicense",
    "OpenSSL",
    "CDLA-Permissive-2.0",
];

/// Names every package of the lock file whose licence is not on the list.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(root)
        .output()
        .context("cargo tree")?;
    anyhow::ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut findings: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, licence)| !permissive(licence.trim_end_matches(" (*)")))
        .map(|(package, licence)| {
            format!("{package}: licence `{licence}` is not on the list of xtask/src/tidy/licences.rs")
        })
        .collect();
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Whether an SPDX expression can be satisfied with the list: every `AND` part has one allowed `OR` choice.
fn permissive(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], "");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|choice| PERMISSIVE.contains(&choice.trim())))
}

#[cfg(test)]
mod tests {
    use super::permissive;

    #[test]
    fn judges_expressions() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-2.0 OR MIT", true),
            ("ISC AND (Apache-2.0 OR ISC)", true),
            ("ISC AND MPL-2.0", false),
        ] {
            assert_eq!(permissive(expression), expected, "{expression}");
        }
    }
}
