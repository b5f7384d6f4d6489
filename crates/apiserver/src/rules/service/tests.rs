use super::*;

fn messages(spec: Value) -> Vec<String> {
    let mut object = json!({"metadata": {"name": "web"}, "spec": spec});
    Service.default(&mut object);
    let mut errors = Vec::new();
    Service.validate(&object, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_have_the_messages_of_kubernetes() {
    let ports = || json!([{"port": 80}]);
    let cases = [
        (json!({}), "spec.ports: Required value"),
        (
            json!({"ports": [{"port": 0}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive; \
             spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 81}]}),
            "spec.ports[0].name: Required value; spec.ports[1].name: Required value",
        ),
        (
            json!({"ports": [{"port": 80, "protocol": "SCTP"}]}),
            "spec.ports[0].protocol: Unsupported value: \"SCTP\": supported values: \"TCP\", \"UDP\"",
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30000},
                {"name": "b", "port": 81, "nodePort": 30000}]}),
            "spec.ports[1].nodePort: Duplicate value: 30000",
        ),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": ports()}),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            json!({"type": "Bad", "ports": ports()}),
            "spec.type: Unsupported value: \"Bad\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\"",
        ),
        (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"ports": ports(), "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and \
             less than 86400",
        ),
        (
            json!({"ports": ports(), "externalTrafficPolicy": "Local"}),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            json!({"ports": ports(), "externalIPs": ["127.0.0.1"]}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            json!({"ports": ports(), "trafficDistribution": "Near"}),
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \
             \"PreferSameNode\", \"PreferSameZone\"",
        ),
        (
            json!({"ports": ports(), "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"ports": ports(), "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.6"]}),
            "spec.clusterIPs: Invalid value: [\"10.96.0.6\"]: first value must match `clusterIP`",
        ),
    ];
    for (spec, expect) in cases {
        assert_eq!(messages(spec.clone()).join("; "), expect, "{spec}");
    }
}

#[test]
fn good_services_pass() {
    for spec in [
        json!({"clusterIP": "None"}),
        json!({"type": "ExternalName", "externalName": "example.org."}),
        json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"], "externalTrafficPolicy": "Local",
            "ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}),
        json!({"ports": [{"port": 80, "targetPort": "http"}], "sessionAffinity": "ClientIP",
            "externalIPs": ["192.0.2.1"], "trafficDistribution": "PreferClose"}),
    ] {
        assert_eq!(messages(spec.clone()), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let mut object = json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}});
    Service.default(&mut object);
    let spec = &object["spec"];
    assert_eq!(spec["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10_800}}));
    assert_eq!(spec["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(
        (&spec["externalTrafficPolicy"], &spec["allocateLoadBalancerNodePorts"]),
        (&json!("Cluster"), &json!(true))
    );
}

#[test]
fn a_change_of_type_drops_what_only_the_former_type_had() {
    let old = json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "allocateLoadBalancerNodePorts": true,
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30080}]}});
    let mut new = old.clone();
    new["spec"]["type"] = "ClusterIP".into();
    Service.prepare_update(&mut new, &old);
    let mut errors = Vec::new();
    Service.validate(&new, &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(new["spec"]["clusterIP"], "10.96.0.5");
    let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}});
    Service.prepare_update(&mut new, &old);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080, "what an update leaves out stays");
}
