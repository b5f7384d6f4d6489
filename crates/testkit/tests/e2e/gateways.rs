//! The ingress gateway as Istio's tasks use it, from this machine, with the real curl.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;

const SOON: Duration = Duration::from_secs(40);
/// Status of curl when it doesn't trust the server's certificate.
const NOT_TRUSTED: i32 = 60;

/// A mesh with httpbin behind its ingress gateway, and a folder with certificates.
struct Edge {
    cluster: Cluster,
    kubectl: Kubectl,
    folder: tempfile::TempDir,
    http: String,
    https: String,
}

impl Edge {
    fn start(user: User) -> anyhow::Result<Self> {
        let cluster = Cluster::start(user)?;
        let kubectl = cluster.kubectl();
        let folder = tempfile::tempdir()?;
        let port = |name: &str| {
            let path = format!("jsonpath={{.spec.ports[?(@.name=='{name}')].nodePort}}");
            kubectl.run(&["get", "service", "-n", "istio-system", "istio-ingressgateway", "-o", &path])
        };
        let (http, https) = (port("http2")?, port("https")?);
        Ok(Self { cluster, kubectl, folder, http, https })
    }

    fn httpbin(&self) -> anyhow::Result<()> {
        self.kubectl.run(&["label", "ns", "default", "istio-injection=enabled", "--overwrite"])?;
        self.kubectl.apply(&repository().join("samples/httpbin"))?;
        self.kubectl.wait_ready("app=httpbin")?;
        self.gateway_is_there()
    }

    fn gateway_is_there(&self) -> anyhow::Result<()> {
        let rollout = ["rollout", "status", "-n", "istio-system", "deploy/istio-ingressgateway", "--timeout=60s"];
        self.kubectl.run(&rollout).map(drop)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `curl ARGS http://HOST/PATH` through the gateway.
    fn http(&self, host: &str, path: &str, args: &[&str]) -> anyhow::Result<Output> {
        let at = format!("{host}:{}:127.0.0.1", self.http);
        curl(&format!("http://{host}:{}{path}", self.http), &[&["--resolve", &at], args].concat())
    }

    /// `curl --cacert CA ARGS https://HOST/PATH` through the gateway.
    fn https(&self, host: &str, path: &str, ca: &str, args: &[&str]) -> anyhow::Result<Output> {
        let (at, ca) = (format!("{host}:{}:127.0.0.1", self.https), self.file(&format!("{ca}.crt")));
        let trust = ["--resolve", &at, "--cacert", &ca.display().to_string()];
        curl(&format!("https://{host}:{}{path}", self.https), &[&trust, args].concat())
    }

    /// Waits until `host` answers `/status/418` so over TLS with a certificate of `ca`.
    fn is_a_teapot(&self, host: &str, ca: &str, args: &[&str]) -> anyhow::Result<()> {
        eventually(SOON, || {
            let answer = self.https(host, "/status/418", ca, args)?;
            ensure!(status(&answer)? == "418", "{answer:?}");
            Ok(())
        })
    }

    /// Makes a certificate authority.
    fn authority(&self, name: &str) -> anyhow::Result<()> {
        let (key, cert) = (self.file(&format!("{name}.key")), self.file(&format!("{name}.crt")));
        let subject = format!("/O={name} Inc./CN={name}");
        openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject],
            &[("-keyout", &key), ("-out", &cert)],
        )
    }

    /// Makes a key and a certificate for `host`, signed by the authority `ca`, in files called `name`.
    fn certificate(&self, name: &str, host: &str, ca: &str) -> anyhow::Result<()> {
        let of = |name: &str, ending: &str| self.file(&format!("{name}.{ending}"));
        std::fs::write(of(name, "ext"), format!("subjectAltName=DNS:{host}\n"))?;
        openssl(
            &["req", "-newkey", "rsa:2048", "-nodes", "-subj", &format!("/CN={host}")],
            &[("-keyout", &of(name, "key")), ("-out", &of(name, "csr"))],
        )?;
        openssl(
            &["x509", "-req", "-days", "1"],
            &[
                ("-in", &of(name, "csr")),
                ("-CA", &of(ca, "crt")),
                ("-CAkey", &of(ca, "key")),
                ("-extfile", &of(name, "ext")),
                ("-out", &of(name, "crt")),
            ],
        )
    }

    /// Creates a Secret of certificate and key, or replaces it.
    fn secret(&self, secret: &str, name: &str) -> anyhow::Result<()> {
        let option =
            |what: &str, ending: &str| format!("--{what}={}", self.file(&format!("{name}.{ending}")).display());
        let (cert, key) = (option("cert", "crt"), option("key", "key"));
        let create = ["create", "-n", "istio-system", "secret", "tls", secret, &cert, &key];
        let text = self.kubectl.run(&[&create[..], &["--dry-run=client", "-o", "yaml"]].concat())?;
        self.kubectl.apply_text(&text).map(drop)
    }
}

fn curl(url: &str, args: &[&str]) -> anyhow::Result<Output> {
    let common = ["-s", "-m", "10", "-w", "\n%{http_code}"];
    Ok(Command::new("curl").args(common).args(args).arg(url).output()?)
}

fn openssl(args: &[&str], files: &[(&str, &PathBuf)]) -> anyhow::Result<()> {
    let files = files.iter().flat_map(|(option, path)| [(*option).into(), path.as_os_str().to_owned()]);
    let output = Command::new("openssl").args(args).args(files).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The HTTP status, when curl was content.
fn status(output: &Output) -> anyhow::Result<String> {
    ensure!(output.status.success(), "curl: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(text(output).lines().last().unwrap_or_default().to_owned())
}

fn server(host: &str, name: &str, tls: &str) -> String {
    format!("  - port: {{number: 443, name: {name}, protocol: HTTPS}}\n    tls: {tls}\n    hosts: [{host}]\n")
}

fn gateway(name: &str, servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  \
         selector: {{istio: ingressgateway}}\n  servers:\n{servers}"
    )
}

fn to_httpbin(host: &str, gateway: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {gateway}}}\nspec:\n  \
         hosts: ['{host}']\n  gateways: [{gateway}]\n  http:\n  - match:\n    - uri: {{prefix: /status}}\n    \
         - uri: {{prefix: /delay}}\n    route:\n    - destination: {{host: httpbin, port: {{number: 80}}}}\n"
    )
}

#[test]
fn ingress_as_in_istios_tasks() -> anyhow::Result<()> {
    let edge = Edge::start(User::Root)?;
    edge.httpbin()?;
    plain_http(&edge).context("ingress-control")?;
    certificates(&edge).context("secure-ingress")?;
    client_certificates(&edge).context("secure-ingress, mutual")?;
    broken_credentials(&edge).context("broken credentials")?;
    passed_through(&edge).context("ingress-sni-passthrough")
}

/// Hosts and paths that a VirtualService names are served, others are not.
fn plain_http(edge: &Edge) -> anyhow::Result<()> {
    let server = "  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: [httpbin.example.com]\n";
    edge.kubectl.apply_text(&gateway("plain", server))?;
    edge.kubectl.apply_text(&to_httpbin("httpbin.example.com", "plain"))?;
    eventually(SOON, || {
        let answer = edge.http("httpbin.example.com", "/status/200", &["-i"])?;
        ensure!(status(&answer)? == "200" && text(&answer).contains("server: istio-envoy"), "{answer:?}");
        Ok(())
    })?;
    for (host, path) in [("httpbin.example.com", "/headers"), ("other.example.com", "/status/200")] {
        let answer = edge.http(host, path, &[])?;
        ensure!(status(&answer)? == "404", "{host}{path}: {answer:?}");
    }
    let redirected = "  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: [httpbin.example.com]\n    \
                      tls: {httpsRedirect: true}\n";
    edge.kubectl.apply_text(&gateway("plain", redirected))?;
    eventually(SOON, || {
        let answer = edge.http("httpbin.example.com", "/status/200", &["-i"])?;
        ensure!(status(&answer)? == "301" && text(&answer).contains("location: https://"), "{answer:?}");
        Ok(())
    })?;
    edge.kubectl.apply_text(&gateway("plain", server))?;
    eventually(SOON, || {
        let answer = edge.http("httpbin.example.com", "/status/200", &[])?;
        ensure!(status(&answer)? == "200", "{answer:?}");
        Ok(())
    })
}

/// Two hosts with a certificate each, chosen by server name; one is replaced and the new one is served at once.
fn certificates(edge: &Edge) -> anyhow::Result<()> {
    edge.authority("first")?;
    for host in ["httpbin", "helloworld"] {
        edge.certificate(host, &format!("{host}.example.com"), "first")?;
        edge.secret(&format!("{host}-credential"), host)?;
        let simple = format!("{{mode: SIMPLE, credentialName: {host}-credential}}");
        edge.kubectl.apply_text(&gateway(host, &server(&format!("{host}.example.com"), host, &simple)))?;
        edge.kubectl.apply_text(&to_httpbin(&format!("{host}.example.com"), host))?;
    }
    edge.is_a_teapot("httpbin.example.com", "first", &[])?;
    edge.is_a_teapot("helloworld.example.com", "first", &["--http1.1"])?;
    let other = edge.https("httpbin.example.com", "/headers", "first", &[])?;
    ensure!(status(&other)? == "404", "{other:?}");
    edge.authority("second")?;
    edge.certificate("renewed", "httpbin.example.com", "second")?;
    edge.secret("httpbin-credential", "renewed")?;
    edge.is_a_teapot("httpbin.example.com", "second", &[])?;
    let old = edge.https("httpbin.example.com", "/status/418", "first", &[])?;
    ensure!(old.status.code() == Some(NOT_TRUSTED), "the old authority still counts: {old:?}");
    edge.is_a_teapot("helloworld.example.com", "first", &[])
}

/// Clients have to show a certificate of the authority beside the server's own.
fn client_certificates(edge: &Edge) -> anyhow::Result<()> {
    edge.certificate("client", "client.example.com", "first")?;
    let of = |name: &str| edge.file(name).display().to_string();
    let entry = |key: &str, file: &str| format!("--from-file={key}={}", of(file));
    let (cert, key, ca) =
        (entry("tls.crt", "helloworld.crt"), entry("tls.key", "helloworld.key"), entry("ca.crt", "first.crt"));
    edge.kubectl.run(&["create", "-n", "istio-system", "secret", "generic", "mutual-credential", &cert, &key, &ca])?;
    let with_mode = |mode: &str| {
        let tls = format!("{{mode: {mode}, credentialName: mutual-credential}}");
        edge.kubectl.apply_text(&gateway("helloworld", &server("helloworld.example.com", "helloworld", &tls)))
    };
    with_mode("MUTUAL")?;
    let (cert, key) = (of("client.crt"), of("client.key"));
    let shown = ["--cert", &cert, "--key", &key];
    eventually(SOON, || {
        let anonymous = edge.https("helloworld.example.com", "/status/418", "first", &[])?;
        ensure!(!anonymous.status.success(), "served without a certificate: {anonymous:?}");
        Ok(())
    })?;
    edge.is_a_teapot("helloworld.example.com", "first", &shown)?;
    edge.certificate("stranger", "client.example.com", "second")?;
    let (cert, key) = (of("stranger.crt"), of("stranger.key"));
    let stranger = edge.https("helloworld.example.com", "/status/418", "first", &["--cert", &cert, "--key", &key])?;
    ensure!(!stranger.status.success(), "a certificate of another authority was taken: {stranger:?}");
    with_mode("OPTIONAL_MUTUAL")?;
    edge.is_a_teapot("helloworld.example.com", "first", &[])?;
    edge.is_a_teapot("helloworld.example.com", "first", &shown)
}

/// A Secret that is missing or unusable concerns the host it is for, and nobody else.
fn broken_credentials(edge: &Edge) -> anyhow::Result<()> {
    let missing = "{mode: SIMPLE, credentialName: missing-credential}";
    edge.kubectl.apply_text(&gateway("missing", &server("missing.example.com", "missing", missing)))?;
    edge.kubectl.apply_text(&to_httpbin("missing.example.com", "missing"))?;
    let patch = r#"{"data":{"tls.crt":"bm9uc2Vuc2U="}}"#;
    edge.kubectl.run(&["patch", "-n", "istio-system", "secret", "httpbin-credential", "--type=merge", "-p", patch])?;
    eventually(SOON, || {
        let log = edge.kubectl.run(&["logs", "-n", "istio-system", "deploy/istio-ingressgateway"])?;
        ensure!(log.contains("refused a credential"), "the gateway says nothing about the broken Secret");
        Ok(())
    })?;
    let absent = edge.https("missing.example.com", "/status/418", "first", &[])?;
    ensure!(!absent.status.success(), "served without a certificate: {absent:?}");
    edge.is_a_teapot("helloworld.example.com", "first", &[])?;
    edge.is_a_teapot("httpbin.example.com", "second", &[])?;
    edge.certificate("missing", "missing.example.com", "first")?;
    edge.secret("missing-credential", "missing")?;
    edge.is_a_teapot("missing.example.com", "first", &[])
}

/// TLS that ends at the server, not at the gateway.
fn passed_through(edge: &Edge) -> anyhow::Result<()> {
    edge.certificate("nginx", "nginx.example.com", "second")?;
    let option = |what: &str, file: &str| format!("--{what}={}", edge.file(file).display());
    let (cert, key) = (option("cert", "nginx.crt"), option("key", "nginx.key"));
    edge.kubectl.run(&["create", "secret", "tls", "nginx-server-certs", &cert, &key])?;
    edge.kubectl.apply_text(TLS_SERVER)?;
    edge.kubectl.wait_ready("app=my-nginx")?;
    edge.kubectl.apply_text(&gateway("through", &server("nginx.example.com", "through", "{mode: PASSTHROUGH}")))?;
    edge.kubectl.apply_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: nginx}\nspec:\n  \
         hosts: [nginx.example.com]\n  gateways: [through]\n  tls:\n  - match:\n    - port: 443\n      \
         sniHosts: [nginx.example.com]\n    route:\n    - destination: {host: my-nginx, port: {number: 443}}\n",
    )?;
    eventually(SOON, || {
        let answer = edge.https("nginx.example.com", "/", "second", &["-v"])?;
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        ensure!(status(&answer)? == "200" && said.contains("SSL certificate verify ok."), "{said}\n{}", text(&answer));
        Ok(())
    })
}

/// A server that ends TLS itself.
const TLS_SERVER: &str = "
apiVersion: v1
kind: Service
metadata: {name: my-nginx, labels: {app: my-nginx}}
spec:
  ports: [{name: https, port: 443, targetPort: 8443}]
  selector: {app: my-nginx}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: my-nginx}
spec:
  selector: {matchLabels: {app: my-nginx}}
  template:
    metadata: {labels: {app: my-nginx}}
    spec:
      containers:
      - name: my-nginx
        image: gcr.io/k8s-staging-gateway-api/echo-basic
        env:
        - {name: TLS_SERVER_CERT, value: /certs/tls.crt}
        - {name: TLS_SERVER_PRIVKEY, value: /certs/tls.key}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        volumeMounts: [{name: certs, mountPath: /certs, readOnly: true}]
      volumes: [{name: certs, secret: {secretName: nginx-server-certs}}]
";

/// Clients that ask again and again, each time on a connection of its own.
struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Clients {
    fn start(edge: &Arc<Edge>, ca: &'static str) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..2).map(|_| {
            let (edge, stop, asked) = (edge.clone(), stop.clone(), asked.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = edge.https("httpbin.example.com", "/status/418", ca, &[])?;
                    if status(&answer)? != "418" {
                        bail!("{answer:?}");
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self { threads: threads.collect(), stop, asked }
    }

    /// Lets some more requests through.
    fn go_on(&self) -> anyhow::Result<()> {
        let before = self.asked.load(Ordering::Relaxed);
        eventually(SOON, || {
            ensure!(self.threads.iter().all(|t| !t.is_finished()), "a client has given up");
            ensure!(self.asked.load(Ordering::Relaxed) >= before + 20, "there is no load");
            Ok(())
        })
    }

    fn end(self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn a_gateway_is_rolled_and_its_certificates_change_under_load() -> anyhow::Result<()> {
    let edge = Arc::new(Edge::start(User::Root)?);
    edge.httpbin()?;
    edge.authority("ca")?;
    edge.certificate("0", "httpbin.example.com", "ca")?;
    edge.secret("credential", "0")?;
    let simple = "{mode: SIMPLE, credentialName: credential}";
    edge.kubectl.apply_text(&gateway("edge", &server("httpbin.example.com", "https", simple)))?;
    edge.kubectl.apply_text(&to_httpbin("httpbin.example.com", "edge"))?;
    edge.is_a_teapot("httpbin.example.com", "ca", &[])?;
    let clients = Clients::start(&edge, "ca");
    let outcome = (|| {
        for number in 1..5 {
            edge.certificate(&number.to_string(), "httpbin.example.com", "ca")?;
            edge.secret("credential", &number.to_string())?;
            clients.go_on().context("while a certificate changed")?;
        }
        edge.kubectl.run(&["rollout", "restart", "-n", "istio-system", "deploy/istio-ingressgateway"])?;
        edge.gateway_is_there()?;
        clients.go_on().context("after the gateway was rolled")?;
        clients.go_on()
    })();
    let asked = clients.end().context("a request failed")?;
    ensure!(asked > 100, "only {asked} requests");
    outcome
}

/// Ports below 1024 are not for ordinary users: the gateway is reached on the port that its Service says.
#[test]
fn an_ordinary_user_has_an_ingress_gateway_too() -> anyhow::Result<()> {
    let edge = Edge::start(User::Nobody)?;
    edge.gateway_is_there()?;
    let server = "  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: ['*']\n";
    edge.kubectl.apply_text(&gateway("plain", server))?;
    edge.kubectl.apply_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: hello}\nspec:\n  hosts: ['*']\n  \
         gateways: [plain]\n  http:\n  - directResponse: {status: 200, body: {string: hello}}\n",
    )?;
    eventually(SOON, || {
        let answer = edge.http("any.example.com", "/", &[])?;
        ensure!(text(&answer) == "hello\n200", "{answer:?}");
        Ok(())
    })?;
    let status = edge.cluster.run(&["status"])?;
    ensure!(!status.is_empty(), "no status");
    Ok(())
}
