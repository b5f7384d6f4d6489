//! Istio's behaviour as data, end to end: every call is made by a workload of a real mesh.
//!
//! Cases for any pair of workloads run for two pairs each, always the same ones; `LATEEN_CONFORMANCE_PAIRS` sets
//! another number, or `all`. `LATEEN_CONFORMANCE_CASES` runs only the cases whose ids hold it.

mod call;
mod case;
mod expect;
mod gateway_api;
mod pairs;
mod runner;

use lateen_testkit::cluster::{Cluster, User};
use lateen_testkit::conformance;
use lateen_testkit::world::World;
use runner::Runner;

#[test]
fn routing() -> anyhow::Result<()> {
    let Some(cases) = cases("routing")? else { return Ok(()) };
    let cluster = Cluster::start(User::Root)?;
    let world = World::routing(&cluster)?;
    Runner::new("routing", &world, "echo", "external")?.run(cases)
}

#[test]
fn security() -> anyhow::Result<()> {
    let Some(cases) = cases("security")? else { return Ok(()) };
    let cluster = Cluster::start(User::Root)?;
    let world = World::security(&cluster)?;
    Runner::new("security", &world, "ns1", "ns1")?.run(cases)
}

/// All cases of a group, or none with a message where the data is absent.
fn cases(group: &str) -> anyhow::Result<Option<Vec<serde_json::Value>>> {
    let Some(folder) = conformance::folder().map(|folder| folder.join(group)).filter(|folder| folder.is_dir()) else {
        println!("{group}: skipped, no conformance data; set LATEEN_CONFORMANCE to its folder");
        return Ok(None);
    };
    let mut folders: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let mut cases = Vec::new();
    for folder in folders {
        cases.extend(conformance::read_all(&folder)?.into_iter().map(|(_, case)| case));
    }
    Ok(Some(cases))
}
