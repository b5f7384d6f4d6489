//! What else a mesh has: manifests for the namespace `crowd`.

/// So many Services, each with a VirtualService.
pub fn services(count: usize) -> String {
    let one = |i: usize| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{i}, namespace: crowd}}\n\
             spec: {{ports: [{{name: http, port: 80}}]}}\n\
             ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{i}, namespace: crowd}}\n\
             spec: {{hosts: [s{i}], http: [{{match: [{{uri: {{prefix: /v1}}}}], route: [{{destination: {{host: s{i}}}}}]}}, \
             {{route: [{{destination: {{host: s{i}}}}}], timeout: 3s}}]}}\n"
        )
    };
    (0..count).map(one).collect()
}

/// So many Services, each with so many endpoints.
pub fn endpoints(services: usize, each: usize) -> String {
    let one = |i: usize| {
        let addresses: Vec<_> =
            (0..each).map(|n| format!("{{addresses: [10.200.{i}.{n}], conditions: {{ready: true}}}}")).collect();
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: e{i}, namespace: crowd}}\n\
             spec: {{ports: [{{name: http, port: 80}}]}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata: {{name: e{i}, namespace: crowd, labels: {{kubernetes.io/service-name: e{i}}}}}\n\
             ports: [{{name: http, port: 8080, protocol: TCP}}]\nendpoints: [{}]\n",
            addresses.join(", ")
        )
    };
    (0..services).map(one).collect()
}
