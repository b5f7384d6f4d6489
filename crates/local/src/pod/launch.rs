//! Starting one run of a container: from the pod's words to a running process.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;

use super::context::Context;
use super::env::{self, Variables, expand};
use super::etc;
use super::fields::Addresses;
use super::identity::{ImageUser, identity};
use super::objects::Objects;
use super::service_links;
use super::volumes::Volumes;
use crate::container::console::Console;
use crate::container::spec::{Base, ContainerSpec, Process, Volume};
use crate::image::Image;
use crate::network::{NODE_IP, both};
use crate::paths::PodPaths;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MESSAGE_PATH: &str = "/dev/termination-log";

/// A pod whose containers are started.
pub(crate) struct Ground<'a> {
    pub(crate) context: &'a Context,
    pub(crate) object: &'a Value,
    pub(crate) spec: &'a PodSpec,
    pub(crate) paths: &'a PodPaths,
    pub(crate) ips: &'a [IpAddr],
    pub(crate) hostname: &'a str,
    pub(crate) volumes: &'a Volumes,
    pub(crate) objects: &'a Objects,
}

/// Everything for a start.
pub(crate) struct Prepared {
    pub(crate) spec: ContainerSpec,
    /// A user id that was asked for and can't be had.
    pub(crate) refused_uid: Option<u32>,
}

/// Works out what to start. An error is one of the pod's configuration.
pub(crate) async fn prepare(ground: &Ground<'_>, container: &Container, image: Image) -> Result<Prepared, String> {
    let (user, base, image_env, entrypoint, cmd) = parts(image);
    let many = ground.context.many_ids;
    let (who, refused_uid) = identity(ground.spec, container, user, many)?;
    let mut variables = Variables::default();
    basics(&mut variables, ground, who.uid);
    let links = ground.spec.enable_service_links != Some(false);
    service_links::add(&mut variables, &ground.objects.services(links).await);
    for (name, value) in image_env {
        variables.set(&name, value);
    }
    let node = both(NODE_IP, ground.context.dual_stack);
    let scope = env::Scope {
        pod: ground.object,
        container,
        addresses: Addresses { pod: ground.ips, node: &node },
        capacity: ground.context.capacity,
        objects: ground.objects,
    };
    env::add(&mut variables, &scope).await?;
    let argv = command_line(container, entrypoint, cmd, &variables)?;
    let mut volumes = ground.volumes.mounts(container, |text| expand(text, &variables))?;
    volumes.push(message_file(ground.paths, container)?);
    let namespace = ground.objects.namespace();
    let host_resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let ids = (who.uid, who.gid);
    let etc = etc::files(ground.spec, namespace, ground.hostname, ground.ips, ids, &host_resolv);
    let security = container.security_context.as_ref();
    let spec = ContainerSpec {
        namespaces: ground.paths.namespaces(),
        root: ground.paths.container(&container.name).join("root"),
        hidden: ground.context.home.root().to_owned(),
        base,
        volumes,
        etc,
        read_only_root: security.and_then(|s| s.read_only_root_filesystem) == Some(true),
        console: match (container.tty, container.stdin) {
            (Some(true), _) => Console::Terminal,
            (_, Some(true)) => Console::Input,
            _ => Console::None,
        },
        process: Process {
            argv,
            env: variables.into_list(),
            cwd: PathBuf::from(container.working_dir.as_deref().filter(|d| !d.is_empty()).unwrap_or("/")),
            identity: who,
        },
    };
    Ok(Prepared { spec, refused_uid })
}

type Parts = (ImageUser, Base, Vec<(String, String)>, Vec<String>, Vec<String>);

fn parts(image: Image) -> Parts {
    match image {
        Image::Host => (ImageUser::default(), Base::Host, Vec::new(), Vec::new(), Vec::new()),
        Image::Builtin { entrypoint, cmd, applets, env, user, group } => {
            (ImageUser { uid: user, gid: group }, Base::Builtin { applets }, env, entrypoint, cmd)
        }
    }
}

/// What every container finds in its environment.
fn basics(variables: &mut Variables, ground: &Ground<'_>, uid: u32) {
    for (name, value) in [("PATH", PATH), ("HOSTNAME", ground.hostname), ("HOME", if uid == 0 { "/root" } else { "/" })]
    {
        variables.set(name, value);
    }
}

fn command_line(
    container: &Container,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    variables: &Variables,
) -> Result<Vec<String>, String> {
    let given = |list: &Option<Vec<String>>| {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|text| expand(text, variables)).collect::<Vec<_>>())
    };
    let command = given(&container.command);
    let args = given(&container.args);
    let mut argv = match (&command, &args) {
        // A command of the pod's own replaces the image's arguments too.
        (Some(command), _) => command.clone(),
        (None, _) => entrypoint,
    };
    match args {
        Some(args) => argv.extend(args),
        None if command.is_none() => argv.extend(cmd),
        None => {}
    }
    if argv.is_empty() {
        let image = container.image.as_deref().unwrap_or_default();
        return Err(format!("no command specified: image {image:?} has none of its own"));
    }
    Ok(argv)
}

/// Where the container may leave a last message.
fn message_file(paths: &PodPaths, container: &Container) -> Result<Volume, String> {
    let source = message_path(paths, &container.name);
    let target = container.termination_message_path.as_deref().unwrap_or(MESSAGE_PATH);
    let made = source.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(&source, ""))
        .and_then(|()| {
            let anyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            std::fs::set_permissions(&source, anyone)
        })
        .map_err(|e| format!("make the termination message file: {e}"))?;
    Ok(Volume { source, target: Path::new(target).to_owned(), read_only: false })
}

/// The file of a container's last message.
pub(crate) fn message_path(paths: &PodPaths, container: &str) -> PathBuf {
    paths.container(container).join("termination-log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn command_and_arguments_replace_the_images_own() {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let mut variables = Variables::default();
        variables.set("X", "1");
        for (container, expect) in [
            (json!({"name": "c"}), list(&["entry", "cmd"])),
            (json!({"name": "c", "args": ["a$(X)"]}), list(&["entry", "a1"])),
            (json!({"name": "c", "command": ["b"]}), list(&["b"])),
            (json!({"name": "c", "command": ["b"], "args": ["c"]}), list(&["b", "c"])),
        ] {
            let container = serde_json::from_value(container).unwrap();
            let line = command_line(&container, list(&["entry"]), list(&["cmd"]), &variables);
            assert_eq!(line.unwrap(), expect);
        }
        let bare = serde_json::from_value(json!({"name": "c", "image": "host"})).unwrap();
        let error = command_line(&bare, vec![], vec![], &variables).unwrap_err();
        assert!(error.contains("no command specified"), "{error}");
    }
}
