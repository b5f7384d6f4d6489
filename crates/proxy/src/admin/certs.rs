//! `/certs`

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::certs::{CertStore, certificate_facts};

/// The certificates in use; never a key.
pub(super) fn certs(store: &CertStore) -> Value {
    let describe = |der: &[u8], path: &str| {
        let Some(facts) = certificate_facts(der) else { return json!({ "path": path }) };
        let names: Vec<Value> = facts.uris.iter().map(|uri| json!({ "uri": uri })).collect();
        let left = facts.not_after.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        json!({
            "path": path,
            "serial_number": facts.serial,
            "subject_alt_names": names,
            "days_until_expiration": (left.as_secs() / 86_400).to_string(),
            "valid_from": timestamp(facts.not_before),
            "expiration_time": timestamp(facts.not_after),
        })
    };
    let roots = store.roots();
    let roots = roots.iter().flat_map(|roots| &roots.certificates).map(|der| describe(der, "ROOTCA"));
    let identity = store.identity();
    let chain = identity.iter().flat_map(|identity| identity.chain()).map(|der| describe(der, "default"));
    json!({ "certificates": [{ "ca_cert": roots.collect::<Vec<_>>(), "cert_chain": chain.collect::<Vec<_>>() }] })
}

/// As protobuf writes a moment in JSON.
pub(super) fn timestamp(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map(|t| format!("{t:.3}")).unwrap_or_default()
}
