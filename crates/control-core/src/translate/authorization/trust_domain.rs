//! Principals under the other names of the mesh's trust domain, so that a change of the name breaks no policy.

use crate::resource::MeshConfig;

/// Stands for the mesh's own trust domain, whatever its name.
const LOCAL: &str = "cluster.local";

/// The trust domain and its other names.
pub fn of(mesh: &MeshConfig) -> Vec<String> {
    let mut all = vec![mesh.trust_domain().to_owned()];
    all.extend(mesh.raw.trust_domain_aliases.iter().cloned());
    all
}

/// Principals with those that mean the same under another name of the trust domain.
pub fn with_aliases(principals: &[String], trusted: &[String]) -> Vec<String> {
    principals.iter().flat_map(|principal| aliases(principal, trusted)).collect()
}

fn aliases(principal: &str, trusted: &[String]) -> Vec<String> {
    let as_it_is = || vec![principal.to_owned()];
    // Only `domain/ns/namespace/sa/account` names a trust domain.
    let Some((domain, rest)) = principal.split_once('/').filter(|_| principal.split('/').count() == 5) else {
        return as_it_is();
    };
    let is_ours = trusted.iter().any(|name| fits(domain, name)) || domain == LOCAL;
    if domain == "*" || !is_ours {
        return as_it_is();
    }
    let mut all = Vec::new();
    for name in trusted {
        let by_wildcard = domain.starts_with('*') && fits(domain, name);
        let one = if by_wildcard { principal.to_owned() } else { format!("{name}/{rest}") };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_added_for_the_mesh_s_own_principals_only() {
        let trusted: Vec<String> = ["td1", "cluster.local", "foobar"].map(str::to_owned).into();
        for (principal, expected) in [
            ("cluster.local/ns/a/sa/b", vec!["td1/ns/a/sa/b", "cluster.local/ns/a/sa/b", "foobar/ns/a/sa/b"]),
            ("other/ns/a/sa/b", vec!["other/ns/a/sa/b"]),
            ("*/ns/a/sa/b", vec!["*/ns/a/sa/b"]),
            ("*", vec!["*"]),
            ("*bar/ns/a/sa/b", vec!["td1/ns/a/sa/b", "cluster.local/ns/a/sa/b", "*bar/ns/a/sa/b"]),
        ] {
            assert_eq!(aliases(principal, &trusted), expected, "{principal}");
        }
    }
}
