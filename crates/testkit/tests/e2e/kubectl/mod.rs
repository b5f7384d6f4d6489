//! `kubectl` at home: what its users type, with the machine's release and with Debian's old one.

mod terminal;
mod transcript;

use std::path::Path;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User};

use transcript::{Stage, play, releases};

const FILES: [(&str, &str); 2] = [("pods.yaml", include_str!("pods.yaml")), ("web.yaml", include_str!("web.yaml"))];
const OBJECTS: &str = include_str!("objects.txt");
const STREAMS: &str = include_str!("streams.txt");
const CLUSTER: &str = include_str!("cluster.txt");

/// Environment that changes what goes over the wire.
type Environment = [(&'static str, &'static str)];
const PLAIN: &Environment = &[];
const WEBSOCKETS: &Environment =
    &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true")];
const SPDY: &Environment =
    &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

/// Plays a transcript in a namespace and a folder of its own.
fn stage(
    cluster: &Cluster,
    kubectl: &Path,
    namespace: &str,
    text: &str,
    environment: &Environment,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    for (name, content) in FILES {
        std::fs::write(folder.join(name), content)?;
    }
    let kubeconfig = folder.join("kubeconfig");
    std::fs::copy(cluster.home().join("kubeconfig"), &kubeconfig)?;
    let own = cluster.kubectl();
    own.run(&["create", "namespace", namespace])?;
    own.run(&["wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=30s"])?;
    let lateen = cluster.command(&[]).get_program().to_owned();
    let stage = Stage { kubectl, lateen: lateen.as_ref(), kubeconfig: &kubeconfig, folder, namespace, environment };
    play(text, &stage).with_context(|| format!("in namespace {namespace}"))
}

/// All transcripts on one cluster.
#[test]
fn kubectl_feels_at_home() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let releases = releases()?;
    let (own, old) = (releases[0].as_path(), releases[1].as_path());
    let play = |namespace, kubectl, text, environment| stage(&cluster, kubectl, namespace, text, environment).err();
    // Two at a time: what they show depends on time, as it would for a user.
    let wrong = std::thread::scope(|scope| {
        let streams = scope.spawn(|| {
            [
                play("streams-new", own, STREAMS, WEBSOCKETS),
                play("streams-spdy", own, STREAMS, SPDY),
                // Old releases know SPDY only.
                play("streams-old", old, STREAMS, PLAIN),
                terminal::check(&cluster, &releases).err(),
            ]
        });
        let objects = [play("objects-new", own, OBJECTS, PLAIN), play("objects-old", old, OBJECTS, PLAIN)];
        let streams = streams.join().expect("no play panics");
        let after = [play("cluster-new", own, CLUSTER, PLAIN), play("cluster-old", old, CLUSTER, PLAIN)];
        objects.into_iter().chain(streams).chain(after).flatten().collect::<Vec<_>>()
    });
    let wrong: String = wrong.iter().map(|error| format!("{error:#}\n")).collect();
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}
