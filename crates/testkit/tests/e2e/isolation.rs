//! One workload can't read what belongs to another or to the cluster, however hard it tries from inside its pod.

use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::processes;

const SOON: Duration = Duration::from_secs(30);
/// What nobody but the victim may see.
const SECRET: &str = "kept-to-oneself-4711";

/// A workload in the mesh that has the secret in every place where one can be kept.
const VICTIM: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: victim, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: victim, namespace: victim}
---
apiVersion: v1
kind: Secret
metadata: {name: victim, namespace: victim}
stringData: {file: kept-to-oneself-4711}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: victim, namespace: victim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: victim, namespace: victim, labels: {app: victim}}
spec:
  serviceAccountName: victim
  terminationGracePeriodSeconds: 0
  containers:
  - name: victim
    image: curlimages/curl
    command: [sh, -c, 'for d in /claim /empty /tmp /run; do echo "$KEPT" > $d/kept-file; done; exec sleep infinity']
    env: [{name: KEPT, valueFrom: {secretKeyRef: {name: victim, key: file}}}]
    volumeMounts:
    - {name: claim, mountPath: /claim}
    - {name: empty, mountPath: /empty}
    - {name: secret, mountPath: /secret}
  volumes:
  - {name: claim, persistentVolumeClaim: {claimName: victim}}
  - {name: empty, emptyDir: {}}
  - {name: secret, secret: {secretName: victim}}
"#;

fn attacker(name: &str, image: &str, security: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: attacker\n    image: {image}\n    command: [sleep, infinity]\n    \
         securityContext: {security}\n    volumeMounts: [{{name: own, mountPath: /own}}]\n  \
         volumes: [{{name: own, emptyDir: {{}}}}]\n"
    )
}

struct World {
    cluster: Cluster,
    kubectl: Kubectl,
    attackers: Vec<&'static str>,
}

impl World {
    fn start(user: User) -> anyhow::Result<Self> {
        let cluster = Cluster::start(user)?;
        let kubectl = cluster.kubectl();
        kubectl.apply_text(VICTIM)?;
        let mut attackers = vec![("builtin", "curlimages/curl", "{}"), ("host", "host", "{}")];
        attackers.push(("privileged", "host", "{privileged: true}"));
        if user == User::Root {
            attackers.push(("other", "curlimages/curl", "{runAsUser: 1000, runAsGroup: 1000}"));
        }
        for (name, image, security) in &attackers {
            kubectl.apply_text(&attacker(name, image, security))?;
        }
        kubectl.run(&["wait", "-n", "victim", "--for=condition=Ready", "pod/victim", "--timeout=60s"])?;
        kubectl.run(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"])?;
        Ok(Self { cluster, kubectl, attackers: attackers.iter().map(|(name, _, _)| *name).collect() })
    }

    /// What a script says in a pod, whether it succeeds or not.
    fn say(&self, pod: &str, script: &str) -> anyhow::Result<String> {
        self.kubectl.exec(pod, &["sh", "-c", &format!("({script}) 2>&1; true")])
    }

    /// Runs a script in every attacker; what it says must not hold `forbidden`.
    fn try_all(&self, what: &str, script: &str, forbidden: &str) -> anyhow::Result<()> {
        for pod in &self.attackers {
            let said = self.say(pod, script)?;
            ensure!(!said.contains(forbidden), "{what}, from {pod}: {said}");
        }
        Ok(())
    }
}

/// The secret is where the test looks for it: an attack that finds nothing has not looked in the wrong place.
fn the_victim_has_it(world: &World) -> anyhow::Result<()> {
    let script = "cat /claim/kept-file /empty/kept-file /secret/file /tmp/kept-file; tr '\\0' '\\n' < /proc/1/environ";
    let args = ["exec", "-n", "victim", "victim", "-c", "victim", "--", "sh", "-c", script];
    let said = world.kubectl.run(&args)?;
    ensure!(said.matches(SECRET).count() == 5, "the victim's own view: {said}");
    Ok(())
}

/// The state directory with the database, keys and volumes, and everything else that is mounted or can be.
fn files(world: &World) -> anyhow::Result<()> {
    let home = world.cluster.home().canonicalize()?.display().to_string();
    ensure!(std::fs::read_dir(&home)?.count() > 2, "{home} is not where the state is");
    let script = format!("ls -A {home} {home}/server {home}/volumes {home}/run/private; cat {home}/server/*");
    for entry in ["server", "kubeconfig", "logs", "PRIVATE KEY", "kept-file"] {
        let listed = format!("\n{entry}\n");
        let forbidden = if entry.contains(' ') { entry } else { &listed };
        world.try_all("the state directory", &script, forbidden)?;
    }
    let script = format!(
        "for m in $(cut -d' ' -f2 /proc/mounts | grep -v -e '^/usr' -e '^/proc' -e '^/sys' -e '^/lib' -e '^/bin' -e \
         '^/sbin' -e '^/opt' -e '^/nix' -e '^/work' -e '^/root'); do find $m -maxdepth 6 -xdev -name kept-file -o \
         -maxdepth 6 -xdev -name 'ca*.key'; done; grep -rsl {SECRET} /own /tmp /run /var/run /dev/shm /etc"
    );
    world.try_all("files that are mounted", &script, "kept-file")?;
    let script =
        format!("mkdir -p /own/m; mount --bind {home} /own/m; mount -t proc proc /own/m; ls /own/m {home}/server");
    world.try_all("mounts of its own", &script, "kubeconfig")?;
    let script =
        "for d in /dev/vd* /dev/sd* /dev/nvme* /dev/mem /dev/kmsg; do head -c 1 $d > /dev/null && echo read $d; done";
    world.try_all("devices", script, "read /dev")
}

/// Processes of others are out of sight and out of reach.
fn processes_of_others(world: &World) -> anyhow::Result<()> {
    let script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/1/root/tmp/kept-file; ls /proc/[0-9]*/root/claim";
    world.try_all("what other processes hold", script, SECRET)?;
    world.try_all("command lines", script, "lateen control")?;
    let victim = processes::of_mesh(world.cluster.home())?
        .into_iter()
        .find(|process| process.environment.contains(SECRET) && process.command.contains("sleep"))
        .context("the victim's process")?
        .pid;
    for pod in &world.attackers {
        // By its number outside, by all low numbers but those of the own container, then all there are.
        let script = format!("kill -9 {victim} && echo reached; nsenter -t {victim} -m -p cat /tmp/kept-file");
        let said = world.say(pod, &script)?;
        ensure!(!said.contains("reached") && !said.contains(SECRET), "{pod} reaches process {victim}: {said}");
        let others = "n=$(($$+1)); while [ $n -lt 4000 ]; do kill -9 $n; n=$((n+1)); done";
        let _ = world.kubectl.run(&["exec", pod, "--", "sh", "-c", others]);
        let _ = world.kubectl.run(&["exec", pod, "--", "sh", "-c", "kill -9 -1"]);
    }
    let pod = world.kubectl.get(&["pod", "-n", "victim", "victim"])?;
    let statuses = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].clone());
    let restarts: u64 = statuses
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .map(|status| status["restartCount"].as_u64().unwrap_or(1))
        .sum();
    ensure!(restarts == 0 && pod["status"]["phase"] == "Running", "signals reached the victim: {pod}");
    Ok(())
}

/// Volumes that would show the state or other pods are refused, with the reason; so are links out of a volume.
fn volumes(world: &World) -> anyhow::Result<()> {
    let home = world.cluster.home().canonicalize()?.display().to_string();
    let parent = world.cluster.home().canonicalize()?.parent().context("a parent")?.display().to_string();
    let paths = [&home, &parent, "/", "/proc/1", "/proc/self/root", &format!("{home}/new")];
    let pods = paths.iter().enumerate().map(|(number, path)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: mounts-{number}, labels: {{app: mounts}}}}\nspec:\n  \
             terminationGracePeriodSeconds: 0\n  containers: [{{name: c, image: curlimages/curl, command: [sleep, \
             infinity], volumeMounts: [{{name: v, mountPath: /v}}]}}]\n  volumes: [{{name: v, hostPath: {{path: \
             {path:?}, type: DirectoryOrCreate}}}}]\n"
        )
    });
    world.kubectl.apply_text(&pods.collect::<String>())?;
    eventually(SOON, || {
        let fields = "jsonpath={range .items[*]}{.involvedObject.name}={.message}{'\\n'}{end}";
        let events = world.kubectl.run(&["get", "events", "--field-selector=reason=FailedMount", "-o", fields])?;
        for (number, path) in paths.iter().enumerate() {
            let of_pod = format!("mounts-{number}=");
            let told = events.lines().any(|line| line.starts_with(&of_pod) && line.contains("hostPath"));
            ensure!(told, "no word about {path}: {events}");
        }
        Ok(())
    })?;
    let phases = world.kubectl.run(&["get", "pod", "-l", "app=mounts", "-o", "jsonpath={.items[*].status.phase}"])?;
    ensure!(phases.split(' ').all(|phase| phase == "Pending"), "pods run with what they must not see: {phases}");
    world.kubectl.run(&["delete", "pod", "-l", "app=mounts", "--wait=false"])?;
    ensure!(!world.cluster.home().join("new").exists(), "a refused volume left a directory in the state");
    links(world, &home)
}

/// What watches over machines mounts `/proc`: it finds the machine's figures there, and no processes but its own.
fn proc_as_a_volume(world: &World) -> anyhow::Result<()> {
    world.kubectl.apply_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: figures, labels: {app: figures}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers: [{name: c, image: curlimages/curl, command: [sleep, \
         infinity], volumeMounts: [{name: v, mountPath: /host/proc, readOnly: true}]}]\n  volumes: [{name: v, \
         hostPath: {path: /proc}}]\n",
    )?;
    world.kubectl.wait_ready("app=figures")?;
    let script = "cat /host/proc/[0-9]*/environ /host/proc/[0-9]*/cmdline; head -1 /host/proc/stat";
    let said = world.say("figures", script)?;
    ensure!(said.contains("cpu ") && said.contains("sleep"), "the machine's figures and its own process: {said}");
    ensure!(!said.contains(SECRET) && !said.contains("lateen control"), "processes of others: {said}");
    world.kubectl.run(&["delete", "pod", "figures", "--wait=false"]).map(drop)
}

/// A container makes a link in a volume, another mounts it by `subPath`.
fn links(world: &World, home: &str) -> anyhow::Result<()> {
    world.kubectl.apply_text(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: links}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         initContainers: [{{name: link, image: curlimages/curl, command: [sh, -c, 'ln -s {home} /v/absolute; ln -s \
         ../../../../../../../../../../../..{home} /v/relative'], volumeMounts: [{{name: v, mountPath: /v}}]}}]\n  \
         containers:\n  - {{name: a, image: curlimages/curl, command: [sleep, infinity], volumeMounts: [{{name: v, \
         mountPath: /v, subPath: absolute}}]}}\n  - {{name: r, image: curlimages/curl, command: [sleep, infinity], \
         volumeMounts: [{{name: v, mountPath: /v, subPath: relative/server}}]}}\n  \
         volumes: [{{name: v, emptyDir: {{}}}}]\n"
    ))?;
    eventually(SOON, || {
        let field = "jsonpath={.status.containerStatuses[*].state.waiting.message}";
        let why = world.kubectl.run(&["get", "pod", "links", "-o", field])?;
        ensure!(why.matches("leads outside").count() == 2, "both are refused: {why:?}");
        Ok(())
    })?;
    world.kubectl.run(&["delete", "pod", "links", "--wait=false"]).map(drop)
}

/// The API gives a workload's account nothing of others; the network no way into their proxies.
fn api_and_network(world: &World) -> anyhow::Result<()> {
    let call = |path: &str| {
        format!(
            "curl -sk -m 5 -H \"Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)\" \
             https://kubernetes.default.svc{path}"
        )
    };
    for path in [
        "/api/v1/namespaces/victim/secrets/victim",
        "/api/v1/namespaces/istio-system/secrets",
        "/api/v1/namespaces/victim/pods/victim/log?container=victim",
        "/api/v1/nodes/lateen/proxy/pods",
    ] {
        for pod in &world.attackers {
            let said = world.say(pod, &call(path))?;
            ensure!(said.contains("\"code\":403") || said.contains("\"code\": 403"), "{path} from {pod}: {said}");
        }
    }
    let ip = world.kubectl.run(&["get", "pod", "-n", "victim", "victim", "-o", "jsonpath={.status.podIP}"])?;
    for port in ["15000", "15004"] {
        world.try_all("the victim's proxy", &format!("curl -s -m 3 http://{ip}:{port}/certs"), "cert")?;
    }
    Ok(())
}

fn tour(user: User) -> anyhow::Result<()> {
    let world = World::start(user)?;
    the_victim_has_it(&world)?;
    files(&world)?;
    volumes(&world)?;
    proc_as_a_volume(&world)?;
    api_and_network(&world)?;
    processes_of_others(&world)?;
    the_victim_has_it(&world)
}

#[test]
fn workloads_of_root() -> anyhow::Result<()> {
    tour(User::Root)
}

#[test]
fn workloads_of_an_ordinary_user() -> anyhow::Result<()> {
    tour(User::Nobody)
}
