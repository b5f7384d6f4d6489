//! Which object a resource comes from, in its metadata, as Istio writes it.

use std::collections::HashMap;

use lateen_api::envoy::envoy::config::core::v3::Metadata;
use lateen_api::google::protobuf::{ListValue, Struct, Value, value::Kind};

use crate::resource::{Key, Kind as ResourceKind, Service};

/// The path that Istio gives an object.
pub fn config_path(key: &Key) -> String {
    let (group, kind) = key.kind.group_and_name();
    let version = match key.kind {
        ResourceKind::Service => return format!("/api/v1/namespaces/{}/services/{}", key.namespace, key.name),
        _ => "v1",
    };
    format!("/apis/{group}/{version}/namespaces/{}/{}/{}", key.namespace, dashed(kind), key.name)
}

/// `VirtualService` becomes `virtual-service`.
fn dashed(kind: &str) -> String {
    let mut text = String::new();
    for (i, c) in kind.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// Facts for `filter_metadata["istio"]`.
#[derive(Default)]
pub struct IstioMetadata(HashMap<String, Value>);

impl IstioMetadata {
    /// Names the object that the resource comes from.
    pub fn config(mut self, key: Option<&Key>) -> Self {
        if let Some(key) = key {
            self.0.insert("config".into(), text(&config_path(key)));
        }
        self
    }

    /// Names a path that the resource comes from.
    pub fn config_named(mut self, kind: ResourceKind, namespace: &str, name: &str) -> Self {
        self.0.insert("config".into(), text(&config_path(&Key::new(kind, namespace, name))));
        self
    }

    /// Names the services that the resource stands for.
    pub fn services<'a>(mut self, services: impl IntoIterator<Item = &'a Service>) -> Self {
        let values = services.into_iter().map(service).collect();
        self.0.insert("services".into(), Value { kind: Some(Kind::ListValue(ListValue { values })) });
        self
    }

    /// Adds a text.
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.into(), text(value));
        self
    }

    /// Adds a number.
    pub fn number(mut self, key: &str, value: u16) -> Self {
        self.0.insert(key.into(), Value { kind: Some(Kind::NumberValue(f64::from(value))) });
        self
    }

    /// Adds a switch.
    pub fn flag(mut self, key: &str, value: bool) -> Self {
        self.0.insert(key.into(), Value { kind: Some(Kind::BoolValue(value)) });
        self
    }

    /// The metadata.
    pub fn build(self) -> Option<Metadata> {
        let istio = Struct { fields: self.0 };
        Some(Metadata { filter_metadata: HashMap::from([("istio".to_owned(), istio)]), ..Default::default() })
    }
}

/// Tells Lateen's proxy that only safe retries are wanted; others have no word for it.
pub fn with_safe_retries(metadata: Option<Metadata>, safe: bool) -> Option<Metadata> {
    if !safe {
        return metadata;
    }
    let mut metadata = metadata.unwrap_or_default();
    let fields = HashMap::from([("retries".to_owned(), text("safe"))]);
    metadata.filter_metadata.insert("lateen".to_owned(), Struct { fields });
    Some(metadata)
}

/// A text value.
pub fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn service(service: &Service) -> Value {
    let short = match service.source.kind {
        ResourceKind::Service => service.name().to_owned(),
        _ => service.hostname.to_string(),
    };
    let fields = HashMap::from([
        ("host".to_owned(), text(service.hostname.as_str())),
        ("name".to_owned(), text(&short)),
        ("namespace".to_owned(), text(service.namespace())),
    ]);
    Value { kind: Some(Kind::StructValue(Struct { fields })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_istios() {
        let key = Key::new(ResourceKind::VirtualService, "default", "reviews");
        assert_eq!(config_path(&key), "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews");
        let key = Key::new(ResourceKind::DestinationRule, "a", "b");
        assert_eq!(config_path(&key), "/apis/networking.istio.io/v1/namespaces/a/destination-rule/b");
    }
}
