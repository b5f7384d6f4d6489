//! `proxy-config secret`.

use serde_json::Value;

use super::{Target, print_table, print_value};
use crate::operator::kubectl;

pub(super) fn show(target: &Target) -> anyhow::Result<()> {
    let namespace = target.namespace.as_deref().unwrap_or("default");
    let certs = kubectl::get_json_inside(namespace, &target.workload, "istio-proxy", 15000, "/certs")?;
    if target.output != "short" {
        return print_value(&certs, &target.output);
    }
    let entries = certs["certificates"].as_array().into_iter().flatten();
    let rows = entries.flat_map(|entry| {
        let chain = rows("default", "Cert Chain", &entry["cert_chain"]);
        let roots = rows("ROOTCA", "CA", &entry["ca_cert"]);
        chain.into_iter().chain(roots)
    });
    print_table(&["RESOURCE NAME", "TYPE", "SERIAL NUMBER", "NOT BEFORE", "NOT AFTER"], rows.collect());
    Ok(())
}

fn rows(name: &str, kind: &str, certificates: &Value) -> Vec<Vec<String>> {
    let text = |certificate: &Value, key: &str| certificate[key].as_str().unwrap_or("-").to_owned();
    let certificates = certificates.as_array().into_iter().flatten();
    certificates
        .map(|one| {
            let serial = text(one, "serial_number");
            vec![name.to_owned(), kind.to_owned(), serial, text(one, "valid_from"), text(one, "expiration_time")]
        })
        .collect()
}
