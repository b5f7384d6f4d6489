//! Short forms for the messages that Envoy's configuration is made of.

use std::time::Duration as StdDuration;

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::r#type::v3 as kind;
use lateen_api::google::protobuf::{Any, BoolValue, Duration, UInt32Value};
use lateen_api::typed_struct::XdsTypedStruct;
use prost::{Message, Name};

/// Packs a message.
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// A message of ours that stands for one of Envoy's: its maps are sorted, so that equal ones are equal bytes.
pub trait StandsFor: Message {
    /// The other's type.
    type Of: Name;
}

/// Packs a message under the type that it stands for.
pub fn any_as<M: StandsFor>(message: &M) -> Any {
    Any { type_url: M::Of::type_url(), value: message.encode_to_vec() }
}

/// A message of a type that Envoy's API lacks, as JSON-like data.
pub fn typed_struct(type_name: &str, value: prost_types::Struct) -> Any {
    any(&XdsTypedStruct { type_url: format!("type.googleapis.com/{type_name}"), value: Some(value) })
}

/// A duration.
pub fn duration(value: StdDuration) -> Duration {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    Duration { seconds, nanos: value.subsec_nanos().try_into().unwrap_or(0) }
}

/// A duration as written in a resource; a text that is none counts as absent.
pub fn parse_duration(text: Option<&str>) -> Option<Duration> {
    text.and_then(|t| lateen_mesh::duration::parse(t).ok()).map(duration)
}

/// A number that may be absent.
pub fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// A switch that may be absent.
pub fn flag(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// A TCP address.
pub fn address(ip: &str, port: u32) -> core::Address {
    core::Address { address: Some(core::address::Address::SocketAddress(socket_address(ip, port))) }
}

/// A TCP address where only such can be.
pub fn socket_address(ip: &str, port: u32) -> core::SocketAddress {
    core::SocketAddress {
        address: ip.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
        ..Default::default()
    }
}

/// The address of an endpoint, which may be a `unix://` path.
pub fn endpoint_address(address_or_path: &str, port: u32) -> core::Address {
    match address_or_path.strip_prefix("unix://") {
        Some(path) => {
            core::Address { address: Some(core::address::Address::Pipe(core::Pipe { path: path.to_owned(), mode: 0 })) }
        }
        None => address(address_or_path, port),
    }
}

/// A share of requests, in millionths.
pub fn percent(value: f64) -> kind::FractionalPercent {
    kind::FractionalPercent {
        // A share outside of 0 to 100 is refused by validation; here it is brought into range.
        numerator: (value.clamp(0.0, 100.0) * 10_000.0).round() as u32,
        denominator: kind::fractional_percent::DenominatorType::Million.into(),
    }
}

/// Configuration comes over the aggregated stream.
pub fn ads() -> core::ConfigSource {
    core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        initial_fetch_timeout: Some(Duration { seconds: 0, nanos: 0 }),
        resource_api_version: core::ApiVersion::V3.into(),
        ..Default::default()
    }
}
