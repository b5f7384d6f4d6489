//! The kinds of workloads besides Deployments, as users of `kubectl` meet them.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;

const PATIENCE: Duration = Duration::from_secs(60);

const STATEFUL_SET: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: host
        command: [sh, -c, "echo \"$(hostname) $(cat /data/starts 2>/dev/null)x\" > /data/starts; exec sleep 3600"]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
"#;

const DAEMON_SET: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, annotations: {kubernetes.io/change-cause: first}}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: host, command: [sleep, "3600"], env: [{name: VERSION, value: one}]}]
"#;

const BATCH: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      initContainers: [{name: helper, image: host, restartPolicy: Always, command: [sleep, "3600"]}]
      containers: [{name: app, image: host, command: [sh, -c, "echo index $JOB_COMPLETION_INDEX of $(hostname)"]}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "0 0 1 1 *"
  timeZone: Europe/Berlin
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: app, image: host, command: [echo, tock]}]}
"#;

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: host, command: [sleep, "3600"]}]
"#;

const STORED: &str = r#"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pdb}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: scaler}
spec: {maxReplicas: 3, targetCPUUtilizationPercentage: 80, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec: {ingressClassName: istio, rules: [{host: a.example, http: {paths: [
  {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
"#;

fn starts(kubectl: &Kubectl, pod: &str) -> anyhow::Result<String> {
    Ok(kubectl.exec(pod, &["cat", "/data/starts"])?.trim().to_owned())
}

/// `kubectl ARGS`, which must fail; what it says.
fn refused(kubectl: &Kubectl, args: &[&str]) -> anyhow::Result<String> {
    let output = kubectl.command(args).output()?;
    ensure!(!output.status.success(), "kubectl {} succeeded", args.join(" "));
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `kubectl ARGS` with something on standard input; what it writes to standard error.
fn fed(kubectl: &Kubectl, args: &[&str], input: &str) -> anyhow::Result<String> {
    let mut command = kubectl.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{text}");
    Ok(text)
}

fn pods(kubectl: &Kubectl) -> anyhow::Result<Vec<String>> {
    let list = kubectl.get(&["pods"])?;
    let items = list["items"].as_array().context("items")?.iter();
    Ok(items.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_stateful_set_finds_its_data_again() -> anyhow::Result<()> {
    for user in [User::Root, User::Nobody] {
        let cluster = Cluster::start(user)?;
        data_stays_with_its_pod(&cluster).with_context(|| format!("as {user:?}"))?;
        cluster.run(&["down", "--purge"])?;
        ensure!(!cluster.home().join("volumes").exists(), "--purge left the volumes");
    }
    Ok(())
}

fn data_stays_with_its_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.apply_text(STATEFUL_SET)?;
    kubectl.run(&["rollout", "status", "statefulset/db", "--timeout=60s"])?;
    ensure!(starts(&kubectl, "db-1")? == "db-1 x", "{}", starts(&kubectl, "db-1")?);
    let claims = kubectl.run(&["get", "pvc"])?;
    let bound = claims.lines().filter(|line| line.contains("Bound") && line.contains("standard")).count();
    ensure!(claims.starts_with("NAME") && bound == 2, "{claims}");
    let classes = kubectl.run(&["get", "storageclass"])?;
    ensure!(classes.contains("standard (default)"), "{classes}");

    kubectl.run(&["delete", "pod", "db-1"])?;
    eventually(PATIENCE, || {
        let text = starts(&kubectl, "db-1")?;
        ensure!(text == "db-1 db-1 xx", "{text}");
        Ok(())
    })?;
    cluster.down()?;
    cluster.up()?;
    kubectl.run(&["rollout", "status", "statefulset/db", "--timeout=60s"])?;
    eventually(PATIENCE, || {
        let text = starts(&kubectl, "db-1")?;
        ensure!(text.starts_with("db-1 db-1 db-1 "), "{text}");
        Ok(())
    })?;

    let text = refused(&kubectl, &["patch", "statefulset", "db", "-p", r#"{"spec":{"serviceName":"other"}}"#])?;
    ensure!(text.contains("updates to statefulset spec for fields other than"), "{text}");
    kubectl.run(&["scale", "statefulset/db", "--replicas=1", "--current-replicas=2"])?;
    kubectl.run(&["wait", "--for=delete", "pod/db-1", "--timeout=60s"])?;
    ensure!(kubectl.get(&["pvc"])?["items"].as_array().is_some_and(|all| all.len() == 2), "claims stay");
    kubectl.run(&["delete", "statefulset", "db"])?;
    kubectl.run(&["wait", "--for=delete", "pod/db-0", "--timeout=60s"])?;
    kubectl.run(&["delete", "pvc", "--all"])?;
    eventually(PATIENCE, || {
        let left: Vec<_> = std::fs::read_dir(cluster.home().join("volumes"))?.flatten().collect();
        ensure!(left.is_empty(), "{left:?}");
        ensure!(kubectl.get(&["pv"])?["items"].as_array().is_some_and(Vec::is_empty), "volumes are left");
        Ok(())
    })
}

#[test]
fn daemons_jobs_and_cron_jobs() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    kubectl.apply_text(DAEMON_SET)?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=60s"])?;
    kubectl.run(&["set", "env", "daemonset/agent", "VERSION=two"])?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=60s"])?;
    let history = kubectl.run(&["rollout", "history", "daemonset/agent"])?;
    ensure!(history.lines().filter(|line| line.starts_with(['1', '2'])).count() == 2, "{history}");
    kubectl.run(&["rollout", "undo", "daemonset/agent"])?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=60s"])?;
    let version = kubectl.get(&["daemonset", "agent"])?["spec"]["template"]["spec"]["containers"][0]["env"][0].clone();
    ensure!(version["value"] == "one", "{version}");

    kubectl.apply_text(BATCH)?;
    kubectl.run(&["wait", "--for=condition=complete", "job/indexed", "--timeout=60s"])?;
    let job = kubectl.get(&["job", "indexed"])?;
    ensure!(job["status"]["completedIndexes"] == "0-2", "{}", job["status"]);
    let logs = kubectl.run(&["logs", "-l", "job-name=indexed", "-c", "app"])?;
    for index in 0..3 {
        ensure!(logs.contains(&format!("index {index} of indexed-{index}")), "{logs}");
    }
    kubectl.run(&["create", "job", "--from=cronjob/tick", "by-hand"])?;
    kubectl.run(&["wait", "--for=condition=complete", "job/by-hand", "--timeout=60s"])?;
    ensure!(kubectl.run(&["logs", "job/by-hand"])?.trim() == "tock", "by hand");
    let table = kubectl.run(&["get", "cronjob", "tick"])?;
    ensure!(table.contains("Europe/Berlin") && table.contains("0 0 1 1 *"), "{table}");
    kubectl.run(&["patch", "cronjob", "tick", "-p", r#"{"spec":{"schedule":"@every 1s"}}"#])?;
    eventually(PATIENCE, || {
        let status = kubectl.get(&["cronjob", "tick"])?["status"].clone();
        ensure!(status["lastSuccessfulTime"].is_string(), "{status}");
        Ok(())
    })?;
    kubectl.run(&["delete", "cronjob", "tick"])?;
    let text = refused(&kubectl, &["create", "cronjob", "bad", "--image=host", "--schedule=daily"])?;
    ensure!(text.contains("expected exactly 5 fields, found 1: [daily]"), "{text}");
    Ok(())
}

#[test]
fn rollouts_go_on_and_back_and_owners_take_their_own_along() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    kubectl.apply_text(DEPLOYMENT)?;
    let rolled_out = || kubectl.run(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    rolled_out()?;
    kubectl.run(&["annotate", "deployment/web", "kubernetes.io/change-cause=first"])?;
    kubectl.run(&["set", "env", "deployment/web", "VERSION=two"])?;
    rolled_out()?;
    kubectl.run(&["annotate", "deployment/web", "kubernetes.io/change-cause=second", "--overwrite"])?;
    eventually(PATIENCE, || {
        let history = kubectl.run(&["rollout", "history", "deployment/web"])?;
        ensure!(history.contains("first") && history.contains("second"), "{history}");
        Ok(())
    })?;
    kubectl.run(&["rollout", "undo", "deployment/web", "--to-revision=1"])?;
    rolled_out()?;
    let env = kubectl.get(&["deployment", "web"])?["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    ensure!(env.is_null(), "{env}");
    kubectl.run(&["rollout", "pause", "deployment/web"])?;
    kubectl.run(&["rollout", "restart", "deployment/web"]).err().context("a paused deployment can't be restarted")?;
    kubectl.run(&["rollout", "resume", "deployment/web"])?;
    kubectl.run(&["rollout", "restart", "deployment/web"])?;
    rolled_out()?;
    kubectl.run(&["scale", "deployment/web", "--replicas=3"])?;
    rolled_out()?;

    let before = pods(&kubectl)?;
    let [first, second, ..] = before.as_slice() else { anyhow::bail!("{before:?}") };
    let eviction = format!(r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{first}"}}}}"#);
    let path = format!("/api/v1/namespaces/default/pods/{first}/eviction");
    fed(&kubectl, &["create", "--raw", &path, "-f", "-"], &eviction)?;
    kubectl.run(&["delete", "pod", second, "--force", "--grace-period=0"])?;
    eventually(PATIENCE, || {
        let now = pods(&kubectl)?;
        ensure!(now.len() == 3 && !now.contains(first) && !now.contains(second), "{now:?}");
        Ok(())
    })?;
    rolled_out()?;

    kubectl.run(&["delete", "deployment", "web", "--cascade=orphan"])?;
    ensure!(pods(&kubectl)?.len() == 3, "pods stay");
    kubectl.apply_text(DEPLOYMENT)?;
    rolled_out()?;
    kubectl.run(&["delete", "deployment", "web", "--cascade=foreground"])?;
    ensure!(pods(&kubectl)?.is_empty(), "pods went first");
    Ok(())
}

#[test]
fn what_is_only_stored_says_so() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    let told = fed(&kubectl, &["apply", "-f", "-"], STORED)?;
    for kind in ["PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler"] {
        ensure!(told.contains(&format!("Warning: {kind} is stored, but")), "{told}");
    }
    ensure!(!told.contains("Ingress"), "{told}");
    for (kind, shown) in [
        ("pdb", "pdb    1               N/A"),
        ("netpol", "deny   <none>"),
        ("hpa", "cpu: <unknown>/80%"),
        ("ingress", "front   istio   a.example"),
    ] {
        let table = kubectl.run(&["get", kind])?;
        ensure!(table.contains(shown), "{table}");
        kubectl.run(&["describe", kind])?;
    }
    kubectl.apply_text(DEPLOYMENT)?;
    let text = refused(&kubectl, &["autoscale", "deployment", "web", "--max=3"])?;
    ensure!(text.contains("this cluster has no metrics API and no autoscaler"), "{text}");
    let text = refused(&kubectl, &["top", "pods"])?;
    ensure!(text.contains("Metrics API not available"), "{text}");
    Ok(())
}
