//! Istio's behaviour as data, counted by group. Skipped with a message where the data is absent.

mod authn;
mod authz;
mod authz_config;
mod crd_validation;
mod gateway_deployment;
mod gateway_status;
mod ingress;
mod injection;
mod locality;
mod merge;
mod normalization;
mod rbac_json;
mod sim;
mod validation;
mod visibility;

use lateen_explain::Judge;
use lateen_proxy::signatures::Checked;
use lateen_testkit::conformance;

/// Tokens are judged as the proxy does, on the first of January 2026.
const JUDGE: Judge<'static> = Judge { signatures: &Checked, now: 1_767_225_600 };

/// The folder of a group, or a message that it is skipped.
fn group(name: &str) -> Option<std::path::PathBuf> {
    let folder = conformance::folder().map(|folder| folder.join(name)).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("{name}: skipped, no conformance data; set LATEEN_CONFORMANCE to its folder");
    }
    folder
}
