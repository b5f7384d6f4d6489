//! Bad input is refused with the field named; what slips in harms only itself.

use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};

use crate::answers::ask;
use crate::mini_mesh;

/// Total weight zero routes nowhere.
const BROKEN: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: broken}\nspec:\n  hosts: [db]\n  http:\n  - timeout: soon\n    route:\n    - destination: {host: db}\n";

#[test]
fn a_broken_virtual_service() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;

    let refused = kubectl.apply_text(BROKEN).expect_err("a broken VirtualService is refused");
    ensure!(format!("{refused:#}").contains("timeout"), "the refusal names the field: {refused:#}");

    kubectl.run(&["delete", "validatingwebhookconfiguration", "istio-validator-istio-system"])?;
    kubectl.apply_text(BROKEN)?;
    std::thread::sleep(Duration::from_secs(1));
    for service in ["frontend", "backend", "db"] {
        eventually(Duration::from_secs(5), || {
            let answer = ask(&kubectl, &format!("http://{service}/"))?;
            ensure!(answer.status == "200", "{service}: {answer:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_unknown_image() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["run", "stranger", "--image=example.com/not/here:1"])?;
    eventually(Duration::from_secs(30), || {
        let pods = kubectl.run(&["get", "pods"])?;
        ensure!(pods.contains("ImagePullBackOff") || pods.contains("ErrImagePull"), "{pods}");
        let events = kubectl.run(&["describe", "pod", "stranger"])?;
        ensure!(events.contains("hashicorp/http-echo"), "the event lists what there is:\n{events}");
        Ok(())
    })
}
