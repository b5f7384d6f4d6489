//! Group `injection`: a workload in, the workload with its proxy out.

use std::path::Path;

use lateen_control_core::inject::{Decision, InjectOptions, Program, Request, Workload, inject};
use lateen_testkit::conformance::Score;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Case {
    id: String,
    input: String,
    #[serde(default)]
    expected: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    overlay: Option<String>,
    #[serde(default)]
    set: Vec<String>,
    #[serde(default)]
    mesh_config: Value,
    #[serde(default)]
    platform: Option<String>,
    native_sidecars: bool,
}

#[test]
fn injection() -> anyhow::Result<()> {
    let Some(folder) = crate::group("injection") else { return Ok(()) };
    let mut score = Score::new("injection");
    let mut folders: Vec<_> = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.join("case.yaml").is_file());
    folders.sort();
    for dir in folders {
        let case: Case = serde_json::from_value(read(&dir.join("case.yaml"))?.remove(0))?;
        let options = options(&folder, &dir, &case)?;
        let outcome = run(&dir, &case, &options);
        score.count(case.id, outcome);
    }
    score.settle()
}

fn run(dir: &Path, case: &Case, options: &InjectOptions) -> Result<(), String> {
    let inputs = read(&dir.join(&case.input)).map_err(|error| error.to_string())?;
    let outputs: Vec<_> = inputs.iter().map(|document| injected(document, options)).collect();
    let Some(expected) = &case.expected else {
        let wanted = case.error.as_deref().unwrap_or_default();
        let refused = outputs.into_iter().find_map(Result::err).ok_or("injected, but it should be refused")?;
        let names_it = refused.to_lowercase().contains(wanted);
        return names_it.then_some(()).ok_or_else(|| format!("the error lacks {wanted}: {refused}"));
    };
    let expected = read(&dir.join(expected)).map_err(|error| error.to_string())?;
    for (output, expected) in outputs.into_iter().zip(&expected) {
        let mut differences = Vec::new();
        compare(&normalized(pod_of(&output?)), &normalized(pod_of(expected)), "", &mut differences);
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
    }
    Ok(())
}

/// The document with its pod injected, if it has one.
fn injected(document: &Value, options: &InjectOptions) -> Result<Value, String> {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let pod = pod_of(document);
    if !pod["spec"]["containers"].is_array() {
        return Ok(document.clone());
    }
    let workload = Workload::new(text("/metadata/name"), text("/kind"), text("/apiVersion"));
    let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or("default");
    let range = json!({
        "openshift.io/sa.scc.uid-range": "1000620000/10000",
        "openshift.io/sa.scc.supplemental-groups": "1000620000/10000",
    });
    let namespace_annotations = range.as_object().filter(|_| namespace == "test-ns");
    let request = Request { pod, namespace, namespace_annotations, workload: Some(&workload) };
    if request.decide(options) != Decision::Inject {
        return Ok(document.clone());
    }
    let pod = inject(&request, options).map_err(|error| error.to_string())?;
    let mut output = document.clone();
    match output.pointer_mut("/spec/template") {
        Some(template) => *template = pod,
        None => output = pod,
    }
    Ok(output)
}

/// The pod itself, or the template of a workload.
fn pod_of(document: &Value) -> &Value {
    document.pointer("/spec/template").unwrap_or(document)
}

fn options(folder: &Path, dir: &Path, case: &Case) -> anyhow::Result<InjectOptions> {
    let mut values = read(&folder.join("defaults/values.yaml"))?.remove(0);
    let hidden = values["_internal_defaults_do_not_set"].take();
    overlay(&mut values, &hidden);
    if let Some(name) = &case.overlay {
        overlay(&mut values, &read(&dir.join(name))?[0]["spec"]["values"]);
    }
    for assignment in &case.set {
        let (path, text) = assignment.split_once('=').unwrap_or((assignment, ""));
        let path = path.trim_start_matches("values.").trim_start_matches("components.");
        let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        let nested = path.rsplit('.').fold(value, |inner, name| json!({ name: inner }));
        overlay(&mut values, &nested);
    }
    if let Some(platform) = &case.platform {
        overlay(&mut values, &json!({ "global": { "platform": platform } }));
    }
    let mut mesh = json!({ "enablePrometheusMerge": true, "trustDomain": "cluster.local" });
    if case.mesh_config.is_object() {
        overlay(&mut mesh, &case.mesh_config);
    }
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    Ok(InjectOptions {
        native_sidecars: case.native_sidecars,
        // The command lines of Istio's image: all else is compared as it is.
        program: Program {
            capture: words("istio-iptables"),
            proxy: words("proxy"),
            drain: words("pilot-agent request --debug-port={status_port} POST drain"),
            wait: words("pilot-agent wait"),
            wait_agent: words("pilot-agent wait --url=http://localhost:15020/healthz/ready"),
        },
        ..InjectOptions::from_values(&values, &Value::Null, &mesh)
    })
}

/// Maps are merged, all else replaced.
fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                overlay(base.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// All documents of a YAML file.
fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    let documents =
        serde_saphyr::from_multiple::<Value>(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Data, not text: JSON in strings is read, quantities are written one way, and what is empty is as good as absent
/// (a volume without source is an `emptyDir`, `resources: {}` says nothing).
fn normalized(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, field)| (name.clone(), normalized_field(name, field)));
            Value::Object(kept.filter(|(_, field)| !empty(field)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(normalized).collect()),
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).map_or_else(|_| value.clone(), |parsed| normalized(&parsed))
        }
        Value::String(text) => json!(text.trim_end()),
        other => other.clone(),
    }
}

fn normalized_field(name: &str, field: &Value) -> Value {
    match (name, field) {
        ("cpu" | "memory" | "ephemeral-storage", Value::String(text)) => json!(quantity(text)),
        ("cpu" | "memory" | "ephemeral-storage", Value::Number(number)) => json!(number.to_string()),
        ("volumes" | "containers", Value::Array(items)) if items.iter().any(Value::is_string) => {
            let mut items = items.clone();
            items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
            Value::Array(items)
        }
        _ => normalized(field),
    }
}

fn quantity(text: &str) -> String {
    let whole = |suffix: &str, unit: u64| {
        let number = text.strip_suffix(suffix)?.parse::<u64>().ok()?;
        number.is_multiple_of(unit).then(|| number / unit)
    };
    if let Some(cores) = whole("m", 1000) {
        return cores.to_string();
    }
    whole("Mi", 1024).map_or_else(|| text.to_owned(), |gibibytes| format!("{gibibytes}Gi"))
}

fn empty(value: &Value) -> bool {
    value.is_null()
        || value.as_object().is_some_and(Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_str().is_some_and(str::is_empty)
}

fn compare(got: &Value, expected: &Value, path: &str, differences: &mut Vec<String>) {
    match (got, expected) {
        _ if got == expected => {}
        (Value::Object(got), Value::Object(expected)) => {
            for name in got.keys().chain(expected.keys().filter(|name| !got.contains_key(*name))) {
                let none = Value::Null;
                let (got, expected) = (got.get(name).unwrap_or(&none), expected.get(name).unwrap_or(&none));
                compare(got, expected, &format!("{path}/{name}"), differences);
            }
        }
        (Value::Array(got), Value::Array(expected)) if got.len() == expected.len() => {
            for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                let name = expected["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                compare(got, expected, &format!("{path}/{name}"), differences);
            }
        }
        _ => differences.push(format!("{path}: {got}, expected {expected}")),
    }
}
