//! Requests from outside, by curl, and what they have to bring.

use std::collections::BTreeMap;
use std::process::Command;

use lateen_testkit::kubectl::Kubectl;
use serde_json::Value;

use super::get;
use super::status::gateway_name;

/// Host of requests that name none.
const HOST: &str = "gateway.test";
/// Requests by which a distribution is told.
const SAMPLES: u32 = 200;
/// By how much a share may be off.
const TOLERANCE: f64 = 0.1;

/// A request to a gateway.
pub struct Request {
    args: Vec<String>,
    path: String,
    method: String,
    host: String,
}

/// What came back.
struct Answer {
    status: u64,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Request {
    /// The request of a step, to the port of its gateway on this machine.
    pub fn of(step: &Value, kubectl: &Kubectl) -> Result<Self, String> {
        let wanted = &step["expected"]["request"];
        let text =
            |key: &str, default: &str| wanted[key].as_str().filter(|t| !t.is_empty()).unwrap_or(default).to_owned();
        let (path, method, host) = (text("path", "/"), text("method", "GET"), text("host", HOST));
        let port = node_port(&step["gateway"], kubectl)?;
        let mut args: Vec<String> = ["-sS", "-i", "--max-time", "10", "-H"].map(str::to_owned).into();
        args.push(format!("Host: {host}"));
        if method == "HEAD" {
            args.push("--head".into());
        } else {
            args.extend(["-X".to_owned(), method.clone()]);
        }
        for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
            args.extend(["-H".to_owned(), format!("{name}: {}", value.as_str().unwrap_or_default())]);
        }
        let set = step["expected"]["backend_set_response_headers"].as_object().into_iter().flatten();
        let set: Vec<String> =
            set.map(|(name, value)| format!("{name}:{}", value.as_str().unwrap_or_default())).collect();
        if !set.is_empty() {
            args.extend(["-H".to_owned(), format!("X-Echo-Set-Header: {}", set.join(","))]);
        }
        args.push(format!("http://127.0.0.1:{port}{path}"));
        Ok(Self { args, path, method, host })
    }

    fn send(&self) -> Result<Answer, String> {
        let output = Command::new("curl").args(&self.args).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let header = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
        Ok(Answer {
            status: status.ok_or_else(|| format!("no status in {head}"))?,
            headers: lines.filter_map(header).collect(),
            body: serde_json::from_str(body).unwrap_or_default(),
        })
    }

    /// Sends it and compares the answer, and what the backend says it got, with what is expected.
    pub fn check(&self, expected: &Value, kubectl: &Kubectl) -> Result<(), String> {
        let answer = self.send()?;
        let response = &expected["response"];
        answer.check_head(response)?;
        if !expected["redirect_request"].is_null() {
            return self.check_redirect(&expected["redirect_request"], answer.header("location").as_deref());
        }
        // Preflights are answered by the gateway.
        let preflight = response["status_codes"].is_array() && self.method == "OPTIONS";
        if answer.status != 200 || preflight || self.method == "HEAD" {
            return Ok(());
        }
        self.check_echo(expected, &answer.body)?;
        for mirror in expected["mirrored_to"].as_array().into_iter().flatten() {
            let to = &mirror["backend_ref"];
            let text = |key: &str| to[key].as_str().unwrap_or_default();
            let target = format!("deployment/{}", text("name"));
            let logs = kubectl.run(&["logs", "-n", text("namespace"), &target, "--tail=50"]);
            let logs = logs.map_err(|error| format!("{error:#}"))?;
            ensure(logs.contains(&self.path), || format!("no copy of {} at {target}: {logs}", self.path))?;
        }
        Ok(())
    }

    /// What the backend got.
    fn check_echo(&self, expected: &Value, echo: &Value) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (backend, namespace) = (text(&expected["backend"]), text(&expected["namespace"]));
        ensure(text(&echo["pod"]).starts_with(&backend), || format!("from pod {}, not {backend}", echo["pod"]))?;
        ensure(namespace.is_empty() || echo["namespace"] == *namespace, || format!("from {}", echo["namespace"]))?;
        let got = &expected["expected_request"]["request"];
        let explicit = !expected["expected_request"].is_null();
        let or = |key: &str, own: &str| match got[key].as_str() {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => own.to_owned(),
        };
        ensure(echo["path"] == *or("path", &self.path), || format!("path {}", echo["path"]))?;
        ensure(echo["host"] == *or("host", &self.host), || format!("host {}", echo["host"]))?;
        ensure(echo["method"] == *or("method", &self.method), || format!("method {}", echo["method"]))?;
        let headers: BTreeMap<String, String> = echo["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, values)| {
                let values: Vec<String> = values.as_array().into_iter().flatten().map(text).collect();
                (name.to_ascii_lowercase(), values.join(","))
            })
            .collect();
        let wanted = if explicit { &got["headers"] } else { &expected["request"]["headers"] };
        for (name, value) in wanted.as_object().into_iter().flatten() {
            let found = headers.get(&name.to_ascii_lowercase());
            ensure(found == Some(&text(value)), || format!("header {name}: {found:?}, not {value}"))?;
        }
        for name in expected["expected_request"]["absent_headers"].as_array().into_iter().flatten() {
            let name = text(name).to_ascii_lowercase();
            ensure(!headers.contains_key(&name), || format!("header {name} is there"))?;
        }
        Ok(())
    }

    fn check_redirect(&self, wanted: &Value, location: Option<&str>) -> Result<(), String> {
        let location = location.ok_or("no location")?;
        let (scheme, rest) = location.split_once("://").ok_or_else(|| format!("location {location}"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let wants =
            |key: &str, default: &str| wanted[key].as_str().filter(|t| !t.is_empty()).unwrap_or(default).to_owned();
        let own_path = self.path.split('?').next().unwrap_or_default();
        let as_wanted = host == wants("host", &self.host)
            && port == wants("port", "")
            && scheme == wants("scheme", "http")
            && format!("/{path}") == wants("path", own_path);
        ensure(as_wanted, || format!("location {location}, not {wanted}"))
    }

    /// Sends it often and compares the shares of the backends.
    pub fn distribution(&self, weights: &Value) -> Result<(), String> {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for _ in 0..SAMPLES {
            let pod = self.send()?.body["pod"].as_str().unwrap_or_default().to_owned();
            let mut names = weights.as_object().into_iter().flatten().map(|(name, _)| name);
            let backend = names.find(|name| pod.starts_with(name.as_str()));
            *counts.entry(backend.cloned().unwrap_or(pod)).or_default() += 1.0 / f64::from(SAMPLES);
        }
        for (name, weight) in weights.as_object().into_iter().flatten() {
            let share = counts.remove(name).unwrap_or(0.0);
            let off = (share - weight.as_f64().unwrap_or(0.0)).abs();
            ensure(off <= TOLERANCE, || format!("{name} got {share}, not {weight}"))?;
        }
        ensure(counts.is_empty(), || format!("others answered: {counts:?}"))
    }
}

impl Answer {
    /// All values of a header.
    fn header(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn check_head(&self, wanted: &Value) -> Result<(), String> {
        let allowed: Vec<u64> = match wanted["status_codes"].as_array() {
            Some(codes) => codes.iter().filter_map(Value::as_u64).collect(),
            None => vec![wanted["status_code"].as_u64().unwrap_or(200)],
        };
        ensure(allowed.contains(&self.status), || format!("status {}, not {allowed:?}", self.status))?;
        let squeezed = |text: &str| text.replace(' ', "").to_ascii_lowercase();
        for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
            let found = self.header(name).map(|found| squeezed(&found));
            let wanted = squeezed(value.as_str().unwrap_or_default());
            ensure(found.as_ref() == Some(&wanted), || format!("header {name}: {found:?}, not {value}"))?;
        }
        for (name, values) in wanted["valid_header_values"].as_object().into_iter().flatten() {
            let found = self.header(name).map(|found| squeezed(&found));
            let valid = values.as_array().into_iter().flatten().filter_map(Value::as_str).map(squeezed);
            let fits = valid.into_iter().any(|valid| found.as_ref() == Some(&valid));
            ensure(fits, || format!("header {name}: {found:?}, none of {values}"))?;
        }
        for name in wanted["absent_headers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            ensure(self.header(name).is_none(), || format!("header {name} is there"))?;
        }
        Ok(())
    }
}

/// The port of this machine that leads to a gateway's port: the one named, or the first listener's.
fn node_port(gateway: &Value, kubectl: &Kubectl) -> Result<u64, String> {
    let name = gateway_name(gateway);
    let service = get(kubectl, "service", &format!("{name}-istio"))?;
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let told = gateway.as_str().and_then(|text| text.split_once(" port ")).and_then(|(_, port)| port.parse().ok());
    let named: Option<u64> = match gateway.pointer("/listeners/0") {
        Some(listener) => get(kubectl, super::status::GATEWAY, &name)?["spec"]["listeners"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["name"] == *listener)?["port"].as_u64()),
        None => told,
    };
    let fits = |port: &&Value| named.map_or(port["port"] != 15021, |named| port["port"] == named);
    let found = ports.iter().find(fits).and_then(|port| port["nodePort"].as_u64());
    found.ok_or_else(|| format!("the Service of {name} has no such port: {ports:?}"))
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
