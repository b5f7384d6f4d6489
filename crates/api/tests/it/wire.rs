use lateen_api::discovery::{Any, DeltaDiscoveryResponse, DiscoveryRequest, Node, Resource};
use lateen_api::envoy::envoy::service::discovery::v3 as theirs;
use lateen_api::istio::{Object, VirtualService};
use prost::Message;

#[test]
fn a_delta_response_reads_as_envoys() {
    let ours = DeltaDiscoveryResponse {
        type_url: "t".into(),
        nonce: "n".into(),
        removed_resources: vec!["gone".into()],
        resources: vec![Resource {
            name: "r".into(),
            version: "1".into(),
            resource: Some(Any { type_url: "t".into(), value: vec![1, 2].into() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let read = theirs::DeltaDiscoveryResponse::decode(ours.encode_to_vec().as_slice()).expect("decodes");
    assert_eq!((read.nonce.as_str(), read.removed_resources.as_slice()), ("n", ["gone".to_owned()].as_slice()));
    assert_eq!((read.resources[0].name.as_str(), read.resources[0].version.as_str()), ("r", "1"));
    assert_eq!(read.resources[0].resource.as_ref().map(|a| a.value.as_slice()), Some([1, 2].as_slice()));
}

#[test]
fn a_request_of_envoy_reads_as_ours() {
    let request = theirs::DiscoveryRequest {
        node: Some(Node { id: "sidecar~1.2.3.4~a.b~b.svc.cluster.local".into(), ..Default::default() }),
        resource_names: vec!["80".into()],
        response_nonce: "x".into(),
        ..Default::default()
    };
    let ours = DiscoveryRequest::decode(request.encode_to_vec().as_slice()).expect("decodes");
    assert_eq!(ours.node.map(|n| n.id), request.node.map(|n| n.id));
    assert_eq!((ours.resource_names, ours.response_nonce), (request.resource_names, request.response_nonce));
}

#[test]
fn a_virtual_service_reads_from_kubernetes_json() {
    let json = serde_json::json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"hosts": ["reviews"], "http": [{
            "match": [{"headers": {"end-user": {"exact": "jason"}}}],
            "route": [{"destination": {"host": "reviews", "subset": "v2"}, "weight": 100}], "timeout": "5s",
        }]},
    });
    let vs: Object<VirtualService> = serde_json::from_value(json).expect("reads");
    let http = &vs.spec.http[0];
    assert_eq!(http.matches[0].headers["end-user"].exact.as_deref(), Some("jason"));
    assert_eq!((http.route[0].destination.subset.as_str(), http.timeout.as_deref()), ("v2", Some("5s")));
}
