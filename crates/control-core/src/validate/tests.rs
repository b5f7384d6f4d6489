use serde_json::{Value, json};

use super::*;

fn findings(group: &str, kind: &str, spec: Value) -> Vec<Finding> {
    validate(&json!({
        "apiVersion": format!("{group}/v1"),
        "kind": kind,
        "metadata": { "name": "one", "namespace": "default" },
        "spec": spec,
    }))
}

fn errors(group: &str, kind: &str, spec: Value) -> Vec<String> {
    let all = findings(group, kind, spec);
    all.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.field.clone()).collect()
}

#[test]
fn the_field_is_named() {
    let route = |extra: Value| {
        let mut route = json!({ "route": [{ "destination": { "host": "db" } }] });
        for (name, value) in extra.as_object().unwrap() {
            route[name] = value.clone();
        }
        json!({ "hosts": ["db"], "http": [route] })
    };
    for (extra, field) in [
        (json!({ "timeout": "soon" }), "spec.http[0].timeout"),
        (json!({ "match": [{ "uri": { "regex": "(" } }] }), "spec.http[0].match[0].uri.regex"),
        (json!({ "retries": { "attempts": -1 } }), "spec.http[0].retries.attempts"),
        (json!({ "fault": { "abort": { "httpStatus": 9000 } } }), "spec.http[0].fault.abort.httpStatus"),
        (json!({ "headers": { "request": { "set": { "": "x" } } } }), "spec.http[0].headers.request.set[]"),
        (
            json!({ "match": [{ "headers": { "@request.auth.claims.": { "exact": "x" } } }] }),
            "spec.http[0].match[0].headers[@request.auth.claims.]",
        ),
    ] {
        assert_eq!(errors("networking.istio.io", "VirtualService", route(extra)), [field]);
    }
    let claims =
        json!({ "@request.auth.claims.a.b": { "exact": "x" }, "@request.auth.claims[a][c.d]": { "prefix": "x" } });
    let conditions = json!({ "match": [{ "headers": claims, "withoutHeaders": claims }] });
    assert_eq!(errors("networking.istio.io", "VirtualService", route(conditions)), [""; 0]);
    assert_eq!(errors("networking.istio.io", "VirtualService", route(json!({}))), [""; 0]);
}

#[test]
fn what_is_not_ours_has_no_findings() {
    assert_eq!(findings("example.com", "VirtualService", json!({})), []);
    assert_eq!(findings("networking.istio.io", "Unknown", json!({})), []);
}

#[test]
fn odd_shapes_are_refused_without_panic() {
    let odd = [json!("text"), json!([]), json!(7), json!(null), json!({ "http": 3, "hosts": { "a": 1 } })];
    for spec in odd {
        for (group, kind) in [
            ("networking.istio.io", "VirtualService"),
            ("networking.istio.io", "DestinationRule"),
            ("networking.istio.io", "Gateway"),
            ("networking.istio.io", "ServiceEntry"),
            ("networking.istio.io", "WorkloadEntry"),
            ("networking.istio.io", "WorkloadGroup"),
            ("networking.istio.io", "Sidecar"),
        ] {
            assert!(!errors(group, kind, spec.clone()).is_empty(), "{kind} {spec}");
        }
    }
}

#[test]
fn the_guides_resources_are_valid() {
    for (group, kind, spec) in [
        (
            "networking.istio.io",
            "VirtualService",
            json!({ "hosts": ["frontend"], "http": [{ "route": [{ "destination": { "host": "frontend" } }] }] }),
        ),
        (
            "networking.istio.io",
            "DestinationRule",
            json!({ "host": "*.default.svc.cluster.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } }),
        ),
        ("security.istio.io", "PeerAuthentication", json!({ "mtls": { "mode": "STRICT" } })),
    ] {
        assert_eq!(findings(group, kind, spec), [], "{kind}");
    }
}
