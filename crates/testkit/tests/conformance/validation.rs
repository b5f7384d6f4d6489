//! Group `validation`: which resources are refused or warned about.

use lateen_control_core::validate::{Finding, Severity, validate};
use lateen_testkit::conformance::{Score, read_all};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    source: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    spec: Value,
    valid: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warning: Option<Value>,
    #[serde(default)]
    given: Value,
}

#[test]
fn validation() -> anyhow::Result<()> {
    let Some(folder) = crate::group("validation") else { return Ok(()) };
    let mut score = Score::new("validation");
    for (_, file) in read_all::<File>(&folder)? {
        for (index, row) in file.rows.iter().enumerate() {
            let id = format!("{}[{index}] {}", file.source, row.name);
            score.count(id, check(&file.source, row));
        }
    }
    score.settle()
}

/// What users copy from is accepted.
#[test]
fn samples() -> anyhow::Result<()> {
    let Some(folder) = crate::group("samples") else { return Ok(()) };
    let mut score = Score::new("validation of samples");
    let mut folders = vec![folder.clone()];
    while let Some(dir) = folders.pop() {
        for path in std::fs::read_dir(&dir)?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path)?;
                let documents = serde_saphyr::from_multiple::<Value>(&text)
                    .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
                let name = path.strip_prefix(&folder)?.display();
                for (index, document) in documents.iter().enumerate() {
                    let findings = validate(document);
                    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
                    score.count(format!("{name}[{index}]"), error.map_or(Ok(()), |error| Err(error.to_string())));
                }
            }
        }
    }
    score.settle()
}

fn check(source: &str, row: &Row) -> Result<(), String> {
    let object = resource(source, row).ok_or("there is no resource for this row")?;
    let findings = validate(&object);
    let (errors, warnings): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.severity == Severity::Error);
    let shown = |list: &[&Finding]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if errors.is_empty() != row.valid {
        return Err(format!("valid: {}, expected {}: {}", errors.is_empty(), row.valid, shown(&errors)));
    }
    let text = row.error.clone().unwrap_or_default().to_lowercase();
    if !shown(&errors).to_lowercase().contains(&text) {
        return Err(format!("no error says {text}: {}", shown(&errors)));
    }
    match &row.warning {
        Some(Value::Bool(wanted)) if *wanted == warnings.is_empty() => {
            Err(format!("warning: {}, expected {wanted}: {}", !wanted, shown(&warnings)))
        }
        Some(Value::String(wanted)) if !shown(&warnings).contains(wanted) => {
            Err(format!("no warning says {wanted}: {}", shown(&warnings)))
        }
        _ => Ok(()),
    }
}

/// The resource that has the row's message in it: parts of the API are seen as part of a whole.
fn resource(source: &str, row: &Row) -> Option<Value> {
    let spec = filled(&row.spec);
    if let (Some(kind), true) = (&row.kind, row.kind == row.message) {
        return Some(object(kind, &spec, &row.given));
    }
    let route = |field: &str| {
        let mut route = json!({ "route": [{ "destination": { "host": "foo.bar" } }] });
        route[field] = spec.clone();
        virtual_service(route)
    };
    let header = |name: &Value, value: &Value| {
        let name = name.as_str().unwrap_or_default();
        route_with(json!({ "headers": { "request": { "add": { name: value } } } }))
    };
    let server = |server: Value| object("Gateway", &json!({ "servers": [server] }), &Value::Null);
    let policy =
        |policy: Value| object("DestinationRule", &json!({ "host": "foo", "trafficPolicy": policy }), &Value::Null);
    Some(match source {
        "TestValidateHTTPHeaderName" | "TestStrictValidateHTTPHeaderName" => header(&spec, &json!("value")),
        "TestValidateHTTPHeaderValue" => header(&json!("name"), &spec),
        "TestValidateCORSPolicy" => route("corsPolicy"),
        "TestValidateHTTPRetry" => route("retries"),
        "TestValidateHTTPRewrite" => route("rewrite"),
        "TestValidateUriRegexRewrite" => route("rewrite"),
        "TestValidateHTTPFaultInjectionAbort" if spec.is_null() => route("fault"),
        "TestValidateHTTPFaultInjectionAbort" => route_with(json!({ "fault": { "abort": spec } })),
        "TestValidateHTTPFaultInjectionDelay" => route_with(json!({ "fault": { "delay": spec } })),
        "TestValidateHTTPRedirect" if spec.is_null() => route("redirect"),
        "TestValidateHTTPRedirect" => virtual_service(json!({ "redirect": spec })),
        "TestValidateHTTPDirectResponse" if spec.is_null() => route("directResponse"),
        "TestValidateHTTPDirectResponse" => virtual_service(json!({ "directResponse": spec })),
        "TestValidateHTTPStatus" => virtual_service(json!({ "directResponse": { "status": spec } })),
        "TestValidateHTTPRoute" => virtual_service(spec),
        "TestValidateRouteDestination" => virtual_service(json!({ "route": spec })),
        "TestValidateDestination" => virtual_service(json!({ "route": [{ "destination": spec }] })),
        "TestValidateConnectionPool" => policy(json!({ "connectionPool": spec })),
        "TestValidateLoadBalancer" => policy(json!({ "loadBalancer": spec })),
        "TestValidateOutlierDetection" => policy(json!({ "outlierDetection": spec })),
        "TestValidateTrafficPolicy" => policy(spec),
        "TestValidateServer" => server(spec),
        "TestValidateServerPort" => server(json!({ "hosts": ["foo.bar"], "port": spec, "bind": row.given["bind"] })),
        "TestValidateTlsOptions" => {
            let port = json!({ "number": 443, "name": "https", "protocol": "HTTPS" });
            server(json!({ "hosts": ["foo.bar"], "port": port, "tls": spec }))
        }
        "TestValidatePortName" => {
            let ports = json!([{ "number": 80, "name": spec, "protocol": "HTTP" }]);
            object("ServiceEntry", &json!({ "hosts": ["foo.bar"], "ports": ports, "resolution": "DNS" }), &Value::Null)
        }
        "TestValidateTelemetryFilter" => {
            object("Telemetry", &json!({ "accessLogging": [{ "filter": spec }] }), &Value::Null)
        }
        "Test_validateExportTo" => exported(&row.given),
        _ => return None,
    })
}

fn exported(given: &Value) -> Value {
    let mut object = if given["isServiceEntry"] == true {
        object("ServiceEntry", &json!({ "hosts": ["foo.bar"], "ports": [], "resolution": "DNS" }), &Value::Null)
    } else {
        object("DestinationRule", &json!({ "host": "foo" }), &Value::Null)
    };
    if given["isDestinationRuleWithSelector"] == true {
        object["spec"]["workloadSelector"] = json!({ "matchLabels": { "app": "foo" } });
    }
    object["metadata"]["namespace"] = given["namespace"].clone();
    object["spec"]["exportTo"] = given["exportTo"].clone();
    object
}

fn route_with(extra: Value) -> Value {
    let mut route = json!({ "route": [{ "destination": { "host": "foo.bar" } }] });
    for (name, value) in extra.as_object().into_iter().flatten() {
        route[name] = value.clone();
    }
    virtual_service(route)
}

fn virtual_service(route: Value) -> Value {
    object("VirtualService", &json!({ "hosts": ["foo.bar"], "http": [route] }), &Value::Null)
}

fn object(kind: &str, spec: &Value, given: &Value) -> Value {
    let group = match kind {
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => "security",
        "Telemetry" => "telemetry",
        "WasmPlugin" | "TrafficExtension" => "extensions",
        _ => "networking",
    };
    json!({
        "apiVersion": format!("{group}.istio.io/v1"),
        "kind": kind,
        "metadata": {
            "name": given["configName"].as_str().unwrap_or("foo"),
            "namespace": "default",
            "annotations": given["annotations"],
        },
        "spec": spec,
    })
}

/// `${repeat:a:3}` is `aaa`.
fn filled(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), filled(field))).collect(),
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::String(text) => repeated(text).map_or_else(|| value.clone(), Value::String),
        other => other.clone(),
    }
}

fn repeated(text: &str) -> Option<String> {
    let (unit, count) = text.strip_prefix("${repeat:")?.strip_suffix('}')?.split_once(':')?;
    Some(unit.repeat(count.parse().ok()?))
}
