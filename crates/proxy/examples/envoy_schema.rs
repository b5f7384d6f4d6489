//! Makes `src/admin/dump/schema.bin.gz`, by which `/config_dump` writes Envoy's messages as JSON, from the descriptor
//! set that the `envoy-types` crate ships: only the messages that we can receive, without comments and options.
//!
//! `cargo run -p lateen-proxy --example envoy_schema -- <envoy-types>/src/generated/types.bin <output>`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use prost::Message;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// What everything else is reached from.
const ROOTS: &[&str] = &[
    ".envoy.config.listener.v3.Listener",
    ".envoy.config.route.v3.RouteConfiguration",
    ".envoy.config.cluster.v3.Cluster",
    ".envoy.config.endpoint.v3.ClusterLoadAssignment",
    ".envoy.extensions.transport_sockets.tls.v3.Secret",
    ".envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ".envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ".envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    ".envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ".envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    ".envoy.extensions.filters.network.rbac.v3.RBAC",
    ".envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
    ".envoy.extensions.filters.http.router.v3.Router",
    ".envoy.extensions.filters.http.rbac.v3.RBAC",
    ".envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    ".envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    ".envoy.extensions.filters.http.fault.v3.HTTPFault",
    ".envoy.extensions.filters.http.cors.v3.Cors",
    ".envoy.extensions.filters.http.cors.v3.CorsPolicy",
    ".envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    ".envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    ".envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ".envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    ".envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    ".envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    ".envoy.extensions.access_loggers.file.v3.FileAccessLog",
    ".envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ".envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    ".envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ".envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    ".envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    ".envoy.config.trace.v3.ZipkinConfig",
    ".envoy.config.trace.v3.OpenTelemetryConfig",
    ".google.protobuf.StringValue",
    ".google.protobuf.Empty",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, output] = arguments.as_slice() else { return Err("usage: envoy_schema INPUT OUTPUT".into()) };
    let set = FileDescriptorSet::decode(std::fs::read(input)?.as_slice())?;
    let mut messages = BTreeMap::new();
    let mut enums = BTreeMap::new();
    for file in &set.file {
        let package = format!(".{}", file.package());
        enums.extend(file.enum_type.iter().map(|e| (format!("{package}.{}", e.name()), e.clone())));
        collect(&package, &file.message_type, &mut messages, &mut enums);
    }
    let mut file = FileDescriptorProto::default();
    let mut missing = Vec::new();
    for name in reachable(&messages) {
        match (messages.remove(&name), enums.remove(&name)) {
            (Some(message), _) => file.message_type.push(bare(&name, message)),
            (None, Some(mut found)) => {
                found.name = Some(name);
                found.options = None;
                found.value.iter_mut().for_each(|value| value.options = None);
                file.enum_type.push(found);
            }
            (None, None) => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(format!("no types {missing:?}").into());
    }
    let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(output)?, flate2::Compression::best());
    gz.write_all(&file.encode_to_vec())?;
    gz.finish()?;
    Ok(())
}

fn collect(
    parent: &str,
    types: &[DescriptorProto],
    messages: &mut BTreeMap<String, DescriptorProto>,
    enums: &mut BTreeMap<String, prost_types::EnumDescriptorProto>,
) {
    for message in types {
        let name = format!("{parent}.{}", message.name());
        enums.extend(message.enum_type.iter().map(|e| (format!("{name}.{}", e.name()), e.clone())));
        collect(&name, &message.nested_type, messages, enums);
        messages.insert(name, message.clone());
    }
}

fn reachable(messages: &BTreeMap<String, DescriptorProto>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<String> = ROOTS.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let fields = messages.get(&name).into_iter().flat_map(|message| &message.field);
            open.extend(fields.filter_map(|field| field.type_name.clone()));
        }
    }
    seen
}

/// Only what is needed to read a message; the full name takes the place of the short one.
fn bare(name: &str, message: DescriptorProto) -> DescriptorProto {
    let field = |field: FieldDescriptorProto| FieldDescriptorProto {
        name: field.name,
        number: field.number,
        label: field.label,
        r#type: field.r#type,
        type_name: field.type_name,
        ..Default::default()
    };
    let map = message.options.and_then(|options| options.map_entry);
    let options = map.map(|map_entry| prost_types::MessageOptions { map_entry: Some(map_entry), ..Default::default() });
    DescriptorProto {
        name: Some(name.to_owned()),
        field: message.field.into_iter().map(field).collect(),
        options,
        ..Default::default()
    }
}
