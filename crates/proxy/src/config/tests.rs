use std::path::Path;

use super::*;

fn environment(more: &[(&str, &str)]) -> Environment {
    let base = [
        ("POD_NAME", "frontend-1"),
        ("POD_NAMESPACE", "shop"),
        ("INSTANCE_IP", "10.244.0.7"),
        ("SERVICE_ACCOUNT", "frontend"),
        ("CA_ADDR", "istiod.istio-system.svc:15012"),
        ("ISTIO_META_OWNER", "kubernetes://apis/apps/v1/namespaces/shop/deployments/frontend"),
        ("ISTIO_META_WORKLOAD_NAME", "frontend"),
    ];
    base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = ProxyArgs { role: "sidecar".to_owned(), ..ProxyArgs::default() };
    Config::resolve(&args, &environment(more), Path::new("/nonexistent"))
}

#[test]
fn presents_itself_as_istio_does() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.node.id, "sidecar~10.244.0.7~frontend-1.shop~shop.svc.cluster.local");
    assert_eq!(config.spiffe_id(), "spiffe://cluster.local/ns/shop/sa/frontend");
    assert_eq!(config.node.extensions[0].name, "lateen");
    let metadata = &config.node.metadata.unwrap().fields;
    for name in ["NAMESPACE", "LABELS", "CLUSTER_ID", "SERVICE_ACCOUNT", "WORKLOAD_NAME", "OWNER", "INSTANCE_IPS"] {
        assert!(metadata.contains_key(name), "{name}");
    }
}

#[test]
fn the_usual_ports_and_times_hold_unless_set() {
    let config = resolve(&[]).unwrap();
    assert_eq!((config.ports.admin, config.ports.status, config.ports.ready), (15000, 15020, 15021));
    assert_eq!(config.drain.termination, Duration::from_secs(5));
    let set = r#"{"terminationDrainDuration":"1m0.5s","statusPort":1234,"concurrency":3}"#;
    let config = resolve(&[("PROXY_CONFIG", set)]).unwrap();
    assert_eq!(config.ports.status, 1234);
    assert_eq!(config.drain.termination, Duration::from_millis(60_500));
    assert_eq!(config.workers, 3);
}

#[test]
fn bad_settings_are_named() {
    for (name, value) in [
        ("PROXY_CONFIG", "{"),
        ("INSTANCE_IP", "here"),
        ("SECRET_TTL", "soon"),
        ("ECC_CURVE", "P521"),
        ("WORKLOAD_RSA_KEY_SIZE", "1024"),
        ("LATEEN_CAPTURE_MARK", "x"),
        ("ISTIO_KUBE_APP_PROBERS", r#"{"/app-health/a/livez":{}}"#),
    ] {
        let error = resolve(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = Config::resolve(&ProxyArgs::default(), &Environment::default(), Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("INSTANCE_IP"), "{error}");
}

#[test]
fn reads_the_applications_probes() {
    let text = r#"{"/app-health/web/livez":{"httpGet":{"path":"ok","port":80,"scheme":"HTTPS"},"timeoutSeconds":7},
        "/app-health/web/readyz":{"tcpSocket":{"port":81}},"/app-health/web/startupz":{"grpc":{"port":82,"service":null}}}"#;
    let probers = Probers::parse(text).unwrap().0;
    let live = &probers["/app-health/web/livez"];
    assert_eq!(live.timeout, Duration::from_secs(7));
    assert!(matches!(&live.check, Check::Http { port: 80, path, tls: true, .. } if path == "/ok"));
    assert_eq!(probers["/app-health/web/readyz"].check, Check::Tcp { port: 81 });
    assert_eq!(probers["/app-health/web/startupz"].check, Check::Grpc { port: 82, service: String::new() });
}

#[test]
fn reads_where_the_applications_metrics_are() {
    let parse = |text| AppMetrics::parse(text).unwrap();
    assert_eq!(parse(""), None);
    assert_eq!(parse(r#"{"scrape":"false","port":"80"}"#), None);
    assert_eq!(
        parse(r#"{"scrape":"true","port":"9090"}"#),
        Some(AppMetrics { port: 9090, path: "/metrics".to_owned() })
    );
}

#[test]
fn reads_labels_with_quotes_in_them() {
    let labels = annotations::parse("app=\"web\"\nnote=\"a \\\"b\\\"\\n\\u00e9=c\"\n");
    assert_eq!(labels["app"], "web");
    assert_eq!(labels["note"], "a \"b\"\né=c");
}

#[test]
fn understands_durations() {
    for (text, expected) in [
        ("0", Some(0)),
        ("5s", Some(5000)),
        ("1h1m1s", Some(3_661_000)),
        ("1.5s", Some(1500)),
        ("250ms", Some(250)),
        ("", None),
        ("5", None),
        ("s", None),
        ("5d", None),
    ] {
        assert_eq!(duration::parse(text), expected.map(Duration::from_millis), "{text}");
    }
}

#[test]
fn workloads_have_keys_as_istios_settings_say() {
    for (settings, kind) in [
        (&[][..], KeyKind::P256),
        (&[("ECC_CURVE", "P384")], KeyKind::P384),
        (&[("WORKLOAD_RSA_KEY_SIZE", "3072")], KeyKind::Rsa3072),
        (&[("WORKLOAD_RSA_KEY_SIZE", "3072"), ("ECC_SIGNATURE_ALGORITHM", "ECDSA")], KeyKind::P256),
    ] {
        assert_eq!(resolve(settings).unwrap().certificates.key, kind, "{settings:?}");
    }
}
