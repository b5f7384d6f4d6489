//! Claims of tokens among the names of headers: `@request.auth.claims.a.b` and `@request.auth.claims[a][b]`, as in Istio.

/// Begins such a name, in whatever case.
const START: &str = "@request.auth.claims";

/// The way to the claim that `name` stands for; `None` if it is the name of a header, or of nothing.
pub fn keys(name: &str) -> Option<Vec<&str>> {
    let start = name.get(..START.len()).filter(|start| start.eq_ignore_ascii_case(START))?;
    let path = &name[start.len()..];
    let keys: Vec<&str> = match path.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.split("][").collect(),
        None => path.strip_prefix('.')?.split('.').collect(),
    };
    keys.iter().all(|key| !key.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read() {
        for (name, expected) in [
            ("@request.auth.claims.sub", Some(vec!["sub"])),
            ("@Request.Auth.Claims.a.b", Some(vec!["a", "b"])),
            ("@request.auth.claims[a][x.y/z]", Some(vec!["a", "x.y/z"])),
            ("@request.auth.claims", None),
            ("@request.auth.claims.", None),
            ("@request.auth.claims[a][]", None),
            ("@request.auth.claimsa", None),
            ("x-header", None),
        ] {
            assert_eq!(keys(name), expected, "{name}");
        }
    }
}
