//! AuthorizationPolicy with the real `kubectl`, enforced by Lateen's own sidecar and by a stock Envoy alike.

use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;
use serde_json::Value;

use crate::answers::client;

const ENVOY: &str = ".tools/envoy-1.40.0";
/// The servers: one behind Lateen's sidecar, one behind a stock Envoy.
pub const SERVERS: [&str; 2] = ["httpbin", "httpbin-envoy"];
/// How long a policy may take to arrive everywhere.
pub const ARRIVAL: Duration = Duration::from_secs(20);

/// A server with an HTTP port and one that is a byte stream.
fn server(name: &str, annotations: &str, sidecar: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80}}, {{name: tcp-echo, port: 5678}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, group: servers}}, annotations: {{{annotations}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: httpbin, image: kennethreitz/httpbin, ports: [{{containerPort: 80}}]}}
      - {{name: echo, image: hashicorp/http-echo, args: ['-text=a stream'], ports: [{{containerPort: 5678}}]}}
      {sidecar}
---
"#
    )
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: tested}}\n\
         spec: {{selector: {{matchLabels: {{group: servers}}}}, {spec}}}\n"
    )
}

/// The mesh with both servers, a client in `default`, one in `second`, and one without a sidecar in `plain`.
pub struct World {
    pub kubectl: Kubectl,
}

impl World {
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let folder = repository().join(ENVOY);
        ensure!(folder.join("envoy").is_file(), "no Envoy in {}: run scripts/setup.sh test", folder.display());
        let kubectl = cluster.kubectl();
        for namespace in ["second", "plain"] {
            kubectl.run(&["create", "namespace", namespace])?;
        }
        kubectl.run(&["label", "ns", "default", "second", "istio-injection=enabled"])?;
        let volume = format!(
            r#"sidecar.istio.io/userVolume: '[{{"name":"envoy","hostPath":{{"path":"{}"}}}}]', sidecar.istio.io/userVolumeMount: '[{{"name":"envoy","mountPath":"/opt/envoy","readOnly":true}}]'"#,
            folder.display()
        );
        let agent = "- {name: istio-proxy, image: auto, args: [proxy, agent, --, /opt/envoy/envoy]}";
        let servers = server(SERVERS[0], "", "") + &server(SERVERS[1], &volume, agent);
        kubectl.apply_text(&(servers + &client("default") + &client("second") + &client("plain")))?;
        for (namespace, app) in [
            ("default", "httpbin"),
            ("default", "httpbin-envoy"),
            ("default", "curl"),
            ("second", "curl"),
            ("plain", "curl"),
        ] {
            let deployment = format!("deployment/{app}");
            kubectl.run(&["rollout", "status", "-n", namespace, &deployment, "--timeout=90s"])?;
        }
        Ok(Self { kubectl })
    }

    /// Status and body of the answer that a client in a namespace gets.
    fn ask(&self, namespace: &str, url: &str) -> anyhow::Result<(String, String)> {
        let script = format!("curl -s -m 5 -w '\\n%{{http_code}}' '{url}' || true");
        let text =
            self.kubectl.run(&["exec", "-n", namespace, "deploy/curl", "-c", "curl", "--", "sh", "-c", &script])?;
        let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim()));
        Ok((status.to_owned(), body.to_owned()))
    }

    /// Clients get these statuses from a path of both servers; 000 is a closed connection.
    fn expect(&self, path: &str, expected: &[(&str, &str)]) -> anyhow::Result<()> {
        eventually(ARRIVAL, || {
            for server in SERVERS {
                for (namespace, status) in expected {
                    let (found, body) = self.ask(namespace, &format!("http://{server}.default{path}"))?;
                    ensure!(
                        found == *status,
                        "{namespace} asks {server} for {path}: {found} {body}, expected {status}"
                    );
                    ensure!(found != "403" || body == "RBAC: access denied", "{server}: {body}");
                }
            }
            Ok(())
        })
    }

    fn apply(&self, spec: &str) -> anyhow::Result<()> {
        self.kubectl.apply_text(&policy(spec)).map(drop)
    }
}

#[test]
fn policies() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let world = World::new(&cluster)?;
    world.expect("/status/204", &[("default", "204"), ("second", "204"), ("plain", "204")])?;
    denied_by_path(&world).context("DENY by path")?;
    no_path_slips_past(&world).context("attacks on paths")?;
    allowed_by_principal(&world).context("ALLOW by principal")?;
    denied_by_namespace(&world).context("DENY by namespace")?;
    streams(&world).context("byte streams")?;
    dry_run(&world).context("dry run")?;
    custom_fails_closed(&world).context("CUSTOM")?;
    let status = cluster.run(&["proxy-status"])?;
    ensure!(!status.contains("ERROR"), "a proxy refused something:\n{status}");
    Ok(())
}

fn denied_by_path(world: &World) -> anyhow::Result<()> {
    world.apply("action: DENY, rules: [{to: [{operation: {paths: [/status/*]}}]}]")?;
    let everyone = |status| [("default", status), ("second", status), ("plain", status)];
    world.expect("/status/204", &everyone("403"))?;
    world.expect("/get", &everyone("200"))?;
    logged(world, "403 - rbac_access_denied_matched_policy[ns[default]-policy[tested]-rule[0]]")?;
    // Clients in the mesh are told which rule it was; others aren't.
    let ask = "curl -s -D - -o /dev/null http://httpbin.default/status/204";
    for (namespace, told) in [("second", true), ("plain", false)] {
        let head = world.kubectl.run(&["exec", "-n", namespace, "deploy/curl", "-c", "curl", "--", "sh", "-c", ask])?;
        let cause = "denied by rule 0 of AuthorizationPolicy default/tested";
        ensure!(head.contains(cause) == told, "{namespace}: {head}");
    }
    Ok(())
}

/// The server's access log says so, once the log's buffer is written.
fn logged(world: &World, details: &str) -> anyhow::Result<()> {
    eventually(ARRIVAL, || {
        let log = world.kubectl.run(&["logs", "deploy/httpbin", "-c", "istio-proxy"])?;
        ensure!(log.contains(details), "the access log lacks `{details}`:\n{log}");
        Ok(())
    })
}

/// Ways to write a path so that a rule might not recognize it; backslashes are doubled for `printf %b`.
const ATTACKS: [&str; 22] = [
    "/anything/secret",
    "/anything/secret?x=1",
    "/anything/secret/more",
    "/anything/./secret",
    "/anything/x/../secret",
    "/anything/%73ecret",
    "/%61nything/secret",
    "/anything/%2e/secret",
    "/anything/x/%2e%2e/secret",
    "/anything/x/%2E./secret",
    "/anything\\\\secret",
    "//anything/secret",
    "/anything//secret",
    "/anything%2fsecret",
    "/anything/secret;v=1",
    "/anything/;/secret",
    "/anything/secret%00",
    "/anything/SECRET",
    "/anything/%c0%aesecret",
    "/anything/\\xc0\\xae/secret",
    "http://other.example/anything/secret",
    "/anything/secret#fragment",
];

/// Sends raw requests for each target, one connection each, and shows the answers between marks. `dd` makes each request one
/// write: the shell would write it line by line, and a server that refuses the first line closes before the second.
const RAW: &str = r#"
server=$1; shift
for target in "$@"; do
  exec 3<>/dev/tcp/$server/80 || exit 1
  printf 'GET %b HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$target" "$server" | dd obs=64k status=none >&3
  timeout 5 cat <&3
  printf '\n=== end\n'
  exec 3>&-
done
"#;

/// A client without a sidecar writes paths as it likes: what the rule denies never reaches the application, and both
/// sidecars say the same.
fn no_path_slips_past(world: &World) -> anyhow::Result<()> {
    world.apply("action: DENY, rules: [{to: [{operation: {paths: [/anything/secret*]}}]}]")?;
    world.expect("/anything/secret", &[("plain", "403")])?;
    let mut verdicts = Vec::new();
    for server in SERVERS {
        let address = format!("{server}.default");
        let base = ["exec", "-n", "plain", "deploy/curl", "-c", "curl", "--", "bash", "-c", RAW, "raw", &address];
        let text = world.kubectl.run(&[&base[..], &ATTACKS].concat())?;
        let answers: Vec<&str> = text.split("=== end").collect();
        ensure!(answers.len() == ATTACKS.len() + 1, "{server}: {} answers", answers.len());
        let statuses =
            ATTACKS.iter().zip(answers).map(|(attack, answer)| judge(attack, answer)).collect::<Result<Vec<_>, _>>();
        verdicts.push(statuses.context(server)?);
    }
    for (attack, (ours, envoys)) in ATTACKS.iter().zip(verdicts[0].iter().zip(&verdicts[1])) {
        ensure!(ours == envoys, "{attack}: Lateen says {ours}, Envoy {envoys}");
    }
    ensure!(verdicts[0].iter().filter(|status| *status == "403").count() > 10, "few are recognized: {verdicts:?}");
    Ok(())
}

/// The status, when the application didn't see the path that is denied.
fn judge(attack: &str, answer: &str) -> anyhow::Result<String> {
    let status = answer.split_whitespace().nth(1).unwrap_or("closed").to_owned();
    let body =
        answer.split_once('{').map(|(_, rest)| format!("{{{}", rest.rsplit_once('}').map_or("", |(b, _)| b)) + "}");
    let seen: Option<Value> = body.and_then(|body| serde_json::from_str(&body).ok());
    let url = seen.as_ref().and_then(|seen| seen["url"].as_str()).unwrap_or_default();
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or_default();
    ensure!(!path.starts_with("/anything/secret"), "{attack} reached the application as {path}:\n{answer}");
    Ok(status)
}

fn allowed_by_principal(world: &World) -> anyhow::Result<()> {
    world.apply("rules: [{from: [{source: {principals: [cluster.local/ns/second/sa/curl]}}], to: [{operation: {methods: [GET]}}]}]")?;
    world.expect("/get", &[("second", "200"), ("default", "403"), ("plain", "403")])?;
    logged(world, "rbac_access_denied_matched_policy[none]")?;
    // An ALLOW rule about requests can't allow byte streams.
    world.expect(":5678/", &[("second", "000"), ("default", "000")])
}

fn denied_by_namespace(world: &World) -> anyhow::Result<()> {
    world.apply("action: DENY, rules: [{from: [{source: {notNamespaces: [default]}}]}]")?;
    world.expect("/get", &[("default", "200"), ("second", "403"), ("plain", "403")])?;
    world.expect(":5678/", &[("default", "200"), ("second", "000"), ("plain", "000")])
}

fn streams(world: &World) -> anyhow::Result<()> {
    world.apply(
        "action: DENY, rules: [{from: [{source: {namespaces: [second]}}], to: [{operation: {ports: ['5678']}}]}]",
    )?;
    world.expect(":5678/", &[("default", "200"), ("second", "000"), ("plain", "200")])?;
    world.expect("/get", &[("second", "200")])?;
    eventually(ARRIVAL, || {
        let metrics = metrics(world)?;
        ensure!(metrics.contains("envoy_tcp_rbac_denied{}"), "no count of denied streams:\n{metrics}");
        Ok(())
    })
}

fn metrics(world: &World) -> anyhow::Result<String> {
    let args =
        ["exec", "deploy/httpbin", "-c", "istio-proxy", "--", "lateen", "request", "GET", "15020", "/stats/prometheus"];
    let text = world.kubectl.run(&args)?;
    Ok(text.lines().filter(|line| line.contains("rbac")).collect::<Vec<_>>().join("\n"))
}

fn dry_run(world: &World) -> anyhow::Result<()> {
    let tried = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {name: tested, annotations: {istio.io/dry-run: 'true'}}\n\
                 spec: {action: DENY, rules: [{to: [{operation: {paths: [/get]}}]}]}\n";
    world.kubectl.run(&["delete", "authorizationpolicy", "tested"])?;
    world.kubectl.apply_text(tried)?;
    eventually(ARRIVAL, || {
        world.expect("/get", &[("second", "200"), ("plain", "200")])?;
        let metrics = metrics(world)?;
        let counted = |line: &str| {
            line.starts_with("envoy_http_rbac_shadow_denied{")
                && line.contains("authz_dry_run_action=\"deny\",authz_dry_run_result=\"denied\"")
        };
        ensure!(metrics.lines().any(counted), "no count of the dry run:\n{metrics}");
        Ok(())
    })?;
    world.kubectl.run(&["delete", "authorizationpolicy", "tested"]).map(drop)
}

/// An authorizer that doesn't exist denies what it would be asked about, and nothing else.
fn custom_fails_closed(world: &World) -> anyhow::Result<()> {
    world.apply("action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {paths: [/get]}}]}]")?;
    world.expect("/get", &[("default", "403"), ("plain", "403")])?;
    world.expect("/status/204", &[("default", "204"), ("plain", "204")])
}

/// An authorizer without a sidecar, and a port of it that nobody answers.
const AUTHORIZER: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: ext-authz, namespace: plain}
spec:
  selector: {app: ext-authz}
  ports: [{name: http, port: 8000}, {name: grpc, port: 9000}, {name: grpc-dead, port: 9999}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ext-authz, namespace: plain}
spec:
  selector: {matchLabels: {app: ext-authz}}
  template:
    metadata: {labels: {app: ext-authz}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: ext-authz, image: istio/ext-authz, args: [-allow_service_account=curl]}]
"#;

/// What the mesh knows of it.
const PROVIDERS: &str = r#"
extensionProviders:
- name: by-http
  envoyExtAuthzHttp:
    {service: ext-authz.plain.svc.cluster.local, port: 8000, includeRequestHeadersInCheck: [x-ext-authz]}
- name: by-grpc
  envoyExtAuthzGrpc:
    {service: ext-authz.plain.svc.cluster.local, port: 9000, includeRequestBodyInCheck: {maxRequestBytes: 64}}
- name: dead-open
  envoyExtAuthzGrpc: {service: ext-authz.plain.svc.cluster.local, port: 9999, failOpen: true}
- name: dead
  envoyExtAuthzGrpc: {service: ext-authz.plain.svc.cluster.local, port: 9999, statusOnError: "503"}
"#;

/// Policies on paths, and one on a port, each with an authorizer of its own: all at once.
const ASKS: [(&str, &str); 6] = [
    ("by-http", "{paths: [/get, /anything/both]}"),
    ("by-grpc", "{paths: [/post]}"),
    ("dead-open", "{paths: [/headers]}"),
    ("dead", "{paths: [/uuid, /anything/both]}"),
    ("nobody", "{paths: [/ip]}"),
    ("by-grpc", "{ports: ['5678']}"),
];

#[test]
fn authorizers_are_asked() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let world = World::new(&cluster)?;
    let kubectl = &world.kubectl;
    kubectl.apply_text(AUTHORIZER)?;
    kubectl.run(&["rollout", "status", "-n", "plain", "deployment/ext-authz", "--timeout=60s"])?;
    let map = kubectl.get(&["configmap", "istio", "-n", "istio-system"])?;
    let mesh = map["data"]["mesh"].as_str().context("the mesh's settings")?;
    let patch = serde_json::json!({ "data": { "mesh": format!("{mesh}{PROVIDERS}") } }).to_string();
    kubectl.run(&["patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "--patch", &patch])?;
    for (index, (provider, operation)) in ASKS.into_iter().enumerate() {
        let spec =
            format!("action: CUSTOM, provider: {{name: {provider}}}, rules: [{{to: [{{operation: {operation}}}]}}]");
        kubectl.apply_text(&policy(&spec).replace("{name: tested}", &format!("{{name: asks-{index}}}")))?;
    }
    let (allow, deny) = (["-H", "x-ext-authz: allow"], ["-H", "x-ext-authz: deny"]);
    // Path, arguments, status, and what is in the answer.
    let calls: &[(&str, &[&str], &str, &str)] = &[
        ("/get", &allow, "200", ""),
        ("/get", &deny, "403", "denied by ext_authz"),
        ("/post", &["-H", allow[1], "-d", "a small body"], "200", "a small body"),
        ("/post", &["-H", deny[1], "-d", "a small body"], "403", "denied by ext_authz"),
        ("/post", &["-H", allow[1], "-d", &"long".repeat(50)], "413", ""),
        ("/headers", &[], "200", ""),
        ("/uuid", &[], "503", ""),
        ("/anything/both", &allow, "503", ""),
        ("/anything/both", &deny, "403", "denied by ext_authz"),
        ("/ip", &allow, "403", "RBAC: access denied"),
        ("/status/204", &[], "204", ""),
    ];
    for server in SERVERS {
        for (path, args, status, part) in calls {
            let url = format!("http://{server}.default{path}");
            let command = ["exec", "deploy/curl", "-c", "curl", "--", "curl", "-s", "-m", "5", "-w", "\n%{http_code}"];
            eventually(ARRIVAL, || {
                let text = kubectl.run(&[&command[..], args, &[&url]].concat())?;
                let (body, found) = text.rsplit_once('\n').context("no status")?;
                ensure!(
                    found == *status && body.contains(part),
                    "{url} {args:?}: {found} {body}, expected {status} {part}"
                );
                Ok(())
            })?;
        }
        // The authorizer saw the body, and what it says reaches the server.
        let url = format!("http://{server}.default/post");
        let told =
            ["exec", "deploy/curl", "-c", "curl", "--", "curl", "-s", "-H", allow[1], "-d", "a small body", &url];
        let answer: Value = serde_json::from_str(&kubectl.run(&told)?)?;
        let received = answer["headers"].to_string();
        ensure!(received.contains("Ext-Authz-Check-Received") && received.contains("a small body"), "{received}");
    }
    // About byte streams nothing of HTTP is known, so that those who are asked about paths are asked about all of them.
    world.expect(":5678/", &[("default", "000"), ("plain", "000")])?;
    for index in 0..ASKS.len() - 1 {
        kubectl.run(&["delete", "authorizationpolicy", &format!("asks-{index}")])?;
    }
    world.expect(":5678/", &[("default", "200"), ("plain", "000")])?;
    let status = cluster.run(&["proxy-status"])?;
    ensure!(!status.contains("ERROR"), "a proxy refused something:\n{status}");
    Ok(())
}
