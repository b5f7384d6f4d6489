//! Names of cipher suites and key exchange groups that Istio's API takes, as OpenSSL writes them.

/// Cipher suites of TLS up to 1.2; those of 1.3 can't be chosen.
pub const CIPHERS: [&str; 12] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
];

/// Groups of the key exchange.
pub const CURVES: [&str; 5] = ["P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"];

/// Those of `wanted` that are known, each once, in their order.
pub fn known(wanted: &[String], all: &[&str]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in wanted {
        if all.contains(&name.as_str()) && !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_repeated_names_are_left_out() {
        let wanted = ["AES128-SHA", "RC4", "AES128-SHA", "AES256-SHA"].map(str::to_owned);
        assert_eq!(known(&wanted, &CIPHERS), ["AES128-SHA", "AES256-SHA"]);
    }
}
