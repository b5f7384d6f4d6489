//! `kubectl` at home: what its users type, with the machine's release and with Debian's old one.

mod terminal;
mod transcript;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User};

use transcript::{Stage, play, releases};

const FILES: [(&str, &str); 2] = [("pods.yaml", include_str!("pods.yaml")), ("web.yaml", include_str!("web.yaml"))];

/// Plays a transcript with each release, and with each environment that changes what goes over the wire.
fn with_all_releases(transcript: &str, environments: &[&[(&str, &str)]]) -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let lateen = cluster.command(&[]).get_program().to_owned();
    let kubeconfig = cluster.home().join("kubeconfig");
    let mut wrong = String::new();
    for (index, kubectl) in releases()?.iter().enumerate() {
        // Old releases know SPDY only.
        let environments = if index == 0 { environments } else { &environments[..1] };
        for environment in environments {
            let folder = tempfile::tempdir()?;
            for (name, content) in FILES {
                std::fs::write(folder.path().join(name), content)?;
            }
            let folder = folder.path();
            let stage = Stage { kubectl, lateen: lateen.as_ref(), kubeconfig: &kubeconfig, folder, environment };
            if let Err(error) = play(transcript, &stage) {
                wrong += &format!("{error:#}\n");
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

#[test]
fn kubectl_streams() -> anyhow::Result<()> {
    const WEBSOCKETS: &[(&str, &str)] =
        &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true")];
    const SPDY: &[(&str, &str)] =
        &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];
    with_all_releases(include_str!("streams.txt"), &[WEBSOCKETS, SPDY])
}

#[test]
fn kubectl_objects() -> anyhow::Result<()> {
    with_all_releases(include_str!("objects.txt"), &[&[]])
}
