//! Routes to the workload itself.

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_api::google::protobuf::Duration;

use super::action::any_path;
use super::retry;
use crate::translate::wire::flag;

/// All requests go to `cluster`. `host` names the service in traces.
pub fn inbound_routes(cluster: &str, service_port: u16, host: Option<&str>) -> proto::RouteConfiguration {
    let action = proto::RouteAction {
        cluster_specifier: Some(proto::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: Some(Duration::default()),
        max_stream_duration: Some(retry::unlimited()),
        retry_policy: host.is_some().then(retry::inbound),
        ..Default::default()
    };
    let operation = match host {
        Some(host) => format!("{host}:{service_port}/*"),
        None => format!(":{service_port}/*"),
    };
    proto::RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![proto::VirtualHost {
            name: format!("inbound|http|{service_port}"),
            domains: vec!["*".into()],
            routes: vec![proto::Route {
                name: "default".into(),
                r#match: Some(any_path()),
                decorator: Some(proto::Decorator { operation, ..Default::default() }),
                action: Some(proto::route::Action::Route(action)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        validate_clusters: flag(false),
        ..Default::default()
    }
}
