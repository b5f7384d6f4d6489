//! Headers of cross-origin answers.

use lateen_proxy_core::fault::Cors;
use smallvec::SmallVec;

/// Headers to add to a response.
pub type Added = SmallVec<[(&'static str, Vec<u8>); 4]>;

/// For the response to a request of an origin that is let in.
pub fn response(rules: &Cors, origin: &[u8]) -> Added {
    let mut headers = common(rules, origin);
    if !rules.expose.is_empty() {
        headers.push(("access-control-expose-headers", rules.expose.as_bytes().to_vec()));
    }
    headers
}

/// For the answer to a preflight.
pub fn preflight(rules: &Cors, origin: &[u8]) -> Added {
    let mut headers = common(rules, origin);
    for (name, value) in [
        ("access-control-allow-methods", &rules.methods),
        ("access-control-allow-headers", &rules.headers),
        ("access-control-max-age", &rules.max_age),
    ] {
        if !value.is_empty() {
            headers.push((name, value.as_bytes().to_vec()));
        }
    }
    headers
}

fn common(rules: &Cors, origin: &[u8]) -> Added {
    let mut headers = Added::new();
    headers.push(("access-control-allow-origin", origin.to_vec()));
    if rules.credentials {
        headers.push(("access-control-allow-credentials", b"true".to_vec()));
    }
    headers
}
