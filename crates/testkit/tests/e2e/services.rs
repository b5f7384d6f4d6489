//! Services as their users meet them: from pods with and without sidecar, and from the host.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::processes;

use crate::answers::client;

pub const SOON: Duration = Duration::from_secs(20);
/// What `curl` says of a refused connection.
const REFUSED: &str = "exit code 7";

/// Two servers that say their name, one behind a port of another number, and clients with and without sidecar.
const PODS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: meshed, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: hashicorp/http-echo
        args: ["-text=$(NAME)"]
        env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        ports: [{name: http, containerPort: 5678}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-other, labels: {tier: web, own: 'yes'}}
spec:
  hostname: other
  subdomain: web-headless
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: hashicorp/http-echo
    args: ["-text=web-other", "-listen=:9999"]
    ports: [{name: http, containerPort: 9999}]
  - {name: curl, image: curlimages/curl, command: [sleep, infinity]}
"#;

const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {tier: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-headless}
spec: {clusterIP: None, selector: {tier: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  selector: {tier: web}
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: own}
spec: {selector: {own: 'yes'}, externalIPs: [192.0.2.10], ports: [{name: http, port: 80, targetPort: 9999}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand}
spec: {ports: [{name: http, port: 80, targetPort: 9999}]}
---
apiVersion: v1
kind: Service
metadata: {name: names}
spec:
  type: NodePort
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
---
apiVersion: v1
kind: Endpoints
metadata: {name: names}
subsets:
- addresses: [{ip: 10.96.0.10}]
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
"#;

/// A mesh and its user.
pub struct World {
    pub cluster: Cluster,
    pub kubectl: Kubectl,
}

impl World {
    /// A mesh with the pods and Services of these tests.
    pub fn start(user: User) -> anyhow::Result<World> {
        let cluster = Cluster::start(user)?;
        let kubectl = cluster.kubectl();
        kubectl.apply_text(&[PODS, &client("default"), &client("meshed")].join("---\n"))?;
        kubectl.apply_text(SERVICES)?;
        for selector in ["tier=web", "app=curl"] {
            kubectl.wait_ready(selector)?;
        }
        kubectl.run(&["wait", "-n", "meshed", "pod", "--for=condition=Ready", "-l", "app=curl", "--timeout=60s"])?;
        Ok(World { cluster, kubectl })
    }

    /// What `url` answers to a client without sidecar.
    pub fn plain(&self, url: &str) -> anyhow::Result<String> {
        self.kubectl.exec("deploy/curl", &["curl", "-sS", "-m", "5", url])
    }

    /// What `url` answers to a client with sidecar.
    pub fn meshed(&self, url: &str) -> anyhow::Result<String> {
        let command = ["exec", "-n", "meshed", "deploy/curl", "-c", "curl", "--", "curl", "-sS", "-m", "5", url];
        self.kubectl.run(&command)
    }

    fn value(&self, what: &[&str], path: &str) -> anyhow::Result<String> {
        let path = format!("jsonpath={{{path}}}");
        self.kubectl.run(&[&["get"], what, &["-o", &path]].concat())
    }

    fn node_port(&self, service: &str, index: usize) -> anyhow::Result<u16> {
        let path = format!(".spec.ports[{index}].nodePort");
        Ok(self.value(&["service", service], &path)?.parse()?)
    }

    fn events(&self) -> anyhow::Result<String> {
        self.kubectl.run(&["get", "events"])
    }

    fn event(&self, parts: &[&str]) -> anyhow::Result<()> {
        eventually(SOON, || {
            let events = self.events()?;
            ensure!(
                events.lines().any(|line| parts.iter().all(|part| line.contains(part))),
                "no {parts:?} in\n{events}"
            );
            Ok(())
        })
    }
}

/// What the host gets from an address by HTTP.
fn fetch(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn answers(at: SocketAddr, part: &str) -> anyhow::Result<()> {
    eventually(SOON, || {
        let text = fetch(at).with_context(|| at.to_string())?;
        ensure!(text.contains(part), "{at}: {text}");
        Ok(())
    })
}

fn refuses(at: SocketAddr) -> anyhow::Result<()> {
    eventually(SOON, || match fetch(at) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => anyhow::bail!("{at}: {other:?}"),
    })
}

/// A port of the host that nobody has at the moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn from_pods(world: &World) -> anyhow::Result<()> {
    for url in ["http://web.default/", "http://alias.default/", "http://web.default.svc.cluster.local/"] {
        for client in [World::plain, World::meshed] {
            eventually(SOON, || {
                let body = client(world, url)?;
                ensure!(body.starts_with("web-"), "{url}: {body}");
                Ok(())
            })?;
        }
    }
    // Named ports are those of each pod.
    eventually(SOON, || {
        let bodies = (0..24).map(|_| world.plain("http://web/")).collect::<anyhow::Result<BTreeSet<_>>>()?;
        ensure!(bodies.len() == 3, "every pod answers, each on its own port: {bodies:?}");
        Ok(())
    })?;
    // A headless Service is its pods: their own ports.
    let other = world.plain("http://other.web-headless:9999/")?;
    ensure!(other.contains("web-other"), "{other}");
    let first = world.plain("http://sticky/")?;
    for _ in 0..12 {
        let again = world.plain("http://sticky/")?;
        ensure!(again == first, "a client stays with its pod: {first} then {again}");
    }
    let refused = format!("{:#}", world.plain("http://nobody/").unwrap_err());
    ensure!(refused.contains(REFUSED), "{refused}");
    Ok(())
}

fn endpoints_by_hand(world: &World) -> anyhow::Result<()> {
    let ip = world.value(&["pod", "web-other"], ".status.podIP")?;
    world.kubectl.apply_text(&format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: by-hand}}\nsubsets:\n- addresses: [{{ip: {ip}}}]\n  ports: [{{name: http, port: 9999}}]\n"
    ))?;
    eventually(SOON, || {
        let body = world.plain("http://by-hand/")?;
        ensure!(body.contains("web-other"), "{body}");
        Ok(())
    })?;
    let labels = "kubernetes.io/service-name=by-hand";
    let mirrored = world.kubectl.run(&["get", "endpointslices", "-l", labels, "-o", "yaml"])?;
    ensure!(mirrored.contains("managed-by: endpointslicemirroring-controller.k8s.io"), "{mirrored}");
    Ok(())
}

/// A pod reaches itself through its own Service, and by an external address of it.
fn hairpin(world: &World) -> anyhow::Result<()> {
    for url in ["http://own/", "http://192.0.2.10/"] {
        eventually(SOON, || {
            let command = ["exec", "web-other", "-c", "curl", "--", "curl", "-sS", "-m", "5", url];
            let body = world.kubectl.run(&command)?;
            ensure!(body.contains("web-other"), "{url}: {body}");
            Ok(())
        })?;
    }
    Ok(())
}

fn the_api_server(world: &World) -> anyhow::Result<()> {
    let listed = world.kubectl.run(&["get", "endpoints", "kubernetes"])?;
    ensure!(listed.contains("10.244.0.1:6443"), "{listed}");
    let listed = world.kubectl.run(&["get", "endpointslices", "kubernetes"])?;
    ensure!(listed.contains("IPv4") && listed.contains("10.244.0.1"), "{listed}");
    for url in ["https://kubernetes.default/version", "https://10.244.0.1:6443/version"] {
        let command = ["exec", "deploy/curl", "--", "curl", "-sSk", "-m", "5", url];
        let version = world.kubectl.run(&command)?;
        ensure!(version.contains("gitVersion") || version.contains("\"Status\""), "{url}: {version}");
    }
    Ok(())
}

fn node_ports(world: &World) -> anyhow::Result<()> {
    world.kubectl.run(&["expose", "deploy/web", "--name=np", "--type=NodePort", "--port=80", "--target-port=5678"])?;
    let port = world.node_port("np", 0)?;
    ensure!((30000..=32767).contains(&port), "{port}");
    answers(local(port), "web-")?;
    let inside = world.plain(&format!("http://10.244.0.1:{port}/"))?;
    ensure!(inside.starts_with("web-"), "{inside}");
    world.kubectl.run(&["scale", "deploy/web", "--replicas=0"])?;
    refuses(local(port))?;
    world.kubectl.run(&["scale", "deploy/web", "--replicas=1"])?;
    answers(local(port), "web-")?;
    world.kubectl.run(&["delete", "service", "np"])?;
    refuses(local(port))
}

fn load_balancers(world: &World) -> anyhow::Result<()> {
    let holder = TcpListener::bind(local(0))?;
    let (taken, free) = (holder.local_addr()?.port(), free_port()?);
    let ports = format!("--port={free}");
    let expose = ["expose", "deploy/web", "--name=lb", "--type=LoadBalancer", "--target-port=5678"];
    world.kubectl.run(&[&expose[..], &[&ports]].concat())?;
    answers(local(free), "web-")?;
    eventually(SOON, || {
        let listed = world.kubectl.run(&["get", "service", "lb", "-o", "wide"])?;
        ensure!(listed.contains("LoadBalancer") && listed.contains(" 127.0.0.1 "), "{listed}");
        Ok(())
    })?;
    let patch = format!(r#"{{"spec":{{"ports":[{{"port":{taken},"targetPort":5678}}]}}}}"#);
    world.kubectl.run(&["patch", "service", "lb", "--type=merge", "-p", &patch])?;
    world.event(&["HostPortNotAvailable", "service/lb", &taken.to_string(), "in use by another program"])?;
    refuses(local(free))?;
    answers(local(world.node_port("lb", 0)?), "web-")?;
    eventually(SOON, || {
        let error = world.value(&["service", "lb"], ".status.loadBalancer.ingress[0].ports[0].error")?;
        ensure!(error == "lateen.dev/PortInUse", "{error}");
        Ok(())
    })?;
    drop(holder);
    answers(local(taken), "web-")?;
    world.kubectl.run(&["delete", "service", "lb"])?;
    refuses(local(taken))
}

/// An ordinary user may not have port 80: an event says so and the rest works.
fn privileged_port(world: &World) -> anyhow::Result<()> {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    if start.trim().parse::<u16>()? <= 79 {
        return Ok(());
    }
    let expose = ["expose", "deploy/web", "--name=low", "--type=LoadBalancer", "--port=79", "--target-port=5678"];
    world.kubectl.run(&expose)?;
    world.event(&["HostPortNotAvailable", "service/low", "an ordinary user can't listen on 127.0.0.1:79"])?;
    answers(local(world.node_port("low", 0)?), "web-")?;
    world.kubectl.run(&["delete", "service", "low"]).map(drop)
}

fn host_ports(world: &World) -> anyhow::Result<()> {
    let port = free_port()?;
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: web\n    image: hashicorp/http-echo\n    args: [-text={name}]\n    ports: [{{containerPort: 5678, hostPort: {port}}}]\n"
        )
    };
    world.kubectl.apply_text(&pod("hosted"))?;
    answers(local(port), "hosted")?;
    let inside = world.plain(&format!("http://10.244.0.1:{port}/"))?;
    ensure!(inside.contains("hosted"), "{inside}");
    world.kubectl.apply_text(&pod("second"))?;
    world.event(&["FailedScheduling", "pod/second", "didn't have free ports"])?;
    world.kubectl.run(&["delete", "pod", "second"])?;
    world.kubectl.run(&["delete", "pod", "hosted"])?;
    refuses(local(port))
}

/// A pod in the node's network has the node's address and reaches Services.
fn host_network(world: &World) -> anyhow::Result<()> {
    world.kubectl.apply_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: on-node}\nspec:\n  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet\n  terminationGracePeriodSeconds: 0\n  containers: [{name: curl, image: curlimages/curl, command: [sleep, infinity]}]\n",
    )?;
    world.kubectl.run(&["wait", "pod/on-node", "--for=condition=Ready", "--timeout=60s"])?;
    ensure!(world.value(&["pod", "on-node"], ".status.podIP")? == "10.244.0.1", "the node's address is the pod's");
    let body = world.kubectl.exec("on-node", &["curl", "-sS", "-m", "5", "http://web/"])?;
    ensure!(body.starts_with("web-"), "{body}");
    world.kubectl.run(&["delete", "pod", "on-node"]).map(drop)
}

/// Asks the cluster's DNS server through a nodePort: code of the answer, records in it, and whether it was cut.
fn ask(at: SocketAddr, name: &str, kind: u16) -> anyhow::Result<(u8, u16, bool)> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0]);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind(local(0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&query, at)?;
    let mut buffer = [0; 4096];
    let (length, _) = socket.recv_from(&mut buffer)?;
    ensure!(length >= 12 && buffer[..2] == query[..2], "no answer to the question");
    Ok((buffer[3] & 15, u16::from_be_bytes([buffer[6], buffer[7]]), buffer[2] & 2 != 0))
}

fn names_over_udp(world: &World) -> anyhow::Result<()> {
    const A: u16 = 1;
    const PTR: u16 = 12;
    const AAAA: u16 = 28;
    const SRV: u16 = 33;
    const NO_SUCH_NAME: u8 = 3;
    let at = local(world.node_port("names", 0)?);
    let ip = world.value(&["service", "web"], ".spec.clusterIP")?;
    let parts: Vec<&str> = ip.split('.').rev().collect();
    let reverse = format!("{}.in-addr.arpa", parts.join("."));
    let pods = 3;
    for (name, kind, expect) in [
        ("web.default.svc.cluster.local", A, (0, 1)),
        ("web.default.svc.cluster.local", AAAA, (0, 0)),
        ("web-headless.default.svc.cluster.local", A, (0, pods)),
        ("_http._tcp.web-headless.default.svc.cluster.local", SRV, (0, pods)),
        ("_http._tcp.web.default.svc.cluster.local", SRV, (0, 1)),
        ("10-244-0-9.default.pod.cluster.local", A, (0, 1)),
        ("nope.default.svc.cluster.local", A, (NO_SUCH_NAME, 0)),
        (&reverse, PTR, (0, 1)),
        ("9.255.244.10.in-addr.arpa", PTR, (NO_SUCH_NAME, 0)),
    ] {
        eventually(SOON, || {
            let (code, records, cut) = ask(at, name, kind)?;
            ensure!((code, records) == expect && !cut, "{name} {kind}: {:?}, not {expect:?}", (code, records, cut));
            Ok(())
        })?;
    }
    Ok(())
}

/// Everything at once: a mesh takes longer to start than most of this.
fn tour(user: User) -> anyhow::Result<()> {
    let world = World::start(user)?;
    from_pods(&world)?;
    endpoints_by_hand(&world)?;
    hairpin(&world)?;
    names_over_udp(&world)?;
    the_api_server(&world)?;
    node_ports(&world)?;
    load_balancers(&world)?;
    host_ports(&world)?;
    host_network(&world)?;
    if user == User::Nobody {
        privileged_port(&world)?;
    }
    ends_with_the_mesh(&world)
}

/// However the mesh ends, nothing of it listens any more.
fn ends_with_the_mesh(world: &World) -> anyhow::Result<()> {
    world.kubectl.run(&[
        "expose",
        "deploy/web",
        "--name=last",
        "--type=NodePort",
        "--port=80",
        "--target-port=5678",
    ])?;
    let at = local(world.node_port("last", 0)?);
    answers(at, "web-")?;
    world.cluster.down()?;
    refuses(at)?;
    world.cluster.up()?;
    answers(at, "web-")?;
    let launcher =
        processes::of_mesh(world.cluster.home())?.first().map(|process| process.pid).context("a launcher")?;
    processes::kill(world.cluster.home(), |process| process.pid == launcher)?;
    refuses(at)
}

#[test]
fn as_root() -> anyhow::Result<()> {
    tour(User::Root)
}

#[test]
fn as_an_ordinary_user() -> anyhow::Result<()> {
    tour(User::Nobody)
}
