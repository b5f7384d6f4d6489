use lateen_api::envoy::envoy::config::cluster::v3::Cluster;
use lateen_api::envoy::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use lateen_api::envoy::envoy::config::core::v3::data_source::Specifier;
use lateen_api::envoy::envoy::config::core::v3::transport_socket::ConfigType;
use lateen_api::envoy::envoy::config::core::v3::{DataSource, Metadata, TransportSocket};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, TlsCertificate, UpstreamTlsContext,
};
use lateen_api::google::protobuf::{Any, Duration, Struct, UInt32Value, Value as ProtoValue, value::Kind};
use prost::{Message, Name};

use super::*;

fn secret_source(text: &str) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() })
}

#[test]
fn messages_are_written_as_envoy_writes_them() {
    let certificate = TlsCertificate {
        certificate_chain: secret_source("public"),
        private_key: secret_source("very secret"),
        ..Default::default()
    };
    let common = CommonTlsContext { tls_certificates: vec![certificate], ..Default::default() };
    let tls = UpstreamTlsContext { sni: "b".into(), common_tls_context: Some(common), ..Default::default() };
    let note = ProtoValue { kind: Some(Kind::StringValue("reviews".to_owned())) };
    let istio = Struct { fields: [("config".to_owned(), note)].into() };
    let cluster = Cluster {
        name: "outbound|80||b".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into())),
        connect_timeout: Some(Duration { seconds: 2, nanos: 500_000_000 }),
        per_connection_buffer_limit_bytes: Some(UInt32Value { value: 7 }),
        metadata: Some(Metadata { filter_metadata: [("istio".to_owned(), istio)].into(), ..Default::default() }),
        transport_socket: Some(TransportSocket {
            name: "tls".into(),
            config_type: Some(ConfigType::TypedConfig(Any {
                type_url: UpstreamTlsContext::type_url(),
                value: tls.encode_to_vec(),
            })),
        }),
        ..Default::default()
    };
    let shown = Schema::load().any(type_url::CLUSTER, &cluster.encode_to_vec(), 0);
    assert_eq!(shown["name"], "outbound|80||b");
    assert_eq!(shown["type"], "STRICT_DNS");
    assert_eq!(shown["connect_timeout"], "2.5s");
    assert_eq!(shown["per_connection_buffer_limit_bytes"], 7);
    assert_eq!(shown["metadata"]["filter_metadata"]["istio"]["config"], "reviews");
    let socket = &shown["transport_socket"]["typed_config"];
    assert_eq!(socket["@type"], UpstreamTlsContext::type_url());
    assert_eq!(socket["sni"], "b");
    let certificate = &socket["common_tls_context"]["tls_certificates"][0];
    assert_eq!(certificate["certificate_chain"]["inline_string"], "public");
    assert!(!shown.to_string().contains("very secret"));
}

#[test]
fn what_is_not_known_is_kept_as_it_is() {
    let shown = Schema::load().any("type.googleapis.com/some.Thing", &[1, 2, 3], 0);
    assert_eq!(shown, json!({ "@type": "type.googleapis.com/some.Thing", "value": "AQID" }));
}

#[test]
fn broken_bytes_do_no_harm() {
    let good = Cluster { name: "a".into(), ..Default::default() }.encode_to_vec();
    for cut in 0..good.len() {
        Schema::load().any(type_url::CLUSTER, &good[..cut], 0);
    }
    Schema::load().any(type_url::CLUSTER, &[0xff; 64], 0);
}
