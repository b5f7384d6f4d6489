//! Crate edges: ARCHITECTURE.md says who may import whom; here it is law.

use std::collections::BTreeMap;
use std::path::Path;

/// Crate, and the crates of ours that it may depend on outside tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("mesh", &[]),
    ("nft", &[]),
    ("images", &[]),
    ("control-core", &["api", "mesh"]),
    ("proxy-core", &["api", "mesh"]),
    ("xds", &["api"]),
    ("control", &["control-core", "xds", "mesh", "api"]),
    ("proxy", &["proxy-core", "xds", "nft", "mesh", "api"]),
    ("apiserver", &["mesh"]),
    ("local", &["apiserver", "nft", "mesh", "api"]),
    ("explain", &["control-core", "proxy-core", "mesh", "api"]),
];

/// The crates that may see everything.
const UNRESTRICTED: &[&str] = &["cli", "testkit"];

/// Libraries that the pure cores must not use, so that they stay free of I/O and clocks.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "rustls",
    "tokio-rustls",
    "kube",
    "tonic",
    "socket2",
    "nix",
    "fastrand",
    "jiff",
    "reqwest",
    "axum",
];

/// Names every dependency that a crate has and may not have.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let dir = entry?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if UNRESTRICTED.contains(&name.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(name.as_str()) else {
            findings.push(format!("crate {name} is not listed in xtask/src/tidy/edges.rs: say what it may import"));
            continue;
        };
        for dependency in dependencies(&std::fs::read_to_string(dir.join("Cargo.toml"))?) {
            let ours = dependency.strip_prefix("lateen-");
            if ours.is_some_and(|ours| !may.contains(&ours)) {
                findings.push(format!("crate {name} must not depend on {dependency}"));
            }
            if name.ends_with("-core") && IMPURE.contains(&dependency.as_str()) {
                findings.push(format!("crate {name} is a pure core and must not depend on {dependency}"));
            }
        }
    }
    Ok(findings)
}

/// The keys of `[dependencies]`; development dependencies are free.
fn dependencies(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|key| !key.is_empty() && !key.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn reads_only_the_dependencies_table() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\na.workspace = true\nb = \"1\"\n\n[dev-dependencies]\nc = \"1\"\n";
        assert_eq!(dependencies(manifest), ["a", "b"]);
    }
}
