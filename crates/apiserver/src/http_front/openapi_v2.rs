//! OpenAPI v2 in protobuf, for clients older than v3: they check objects by it before sending
//! them, and `kubectl explain` reads it.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{discovery, openapi, respond};
use crate::engine::Engine;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const TITLE: &str = "Kubernetes";
const V3_PREFIX: &str = "#/components/schemas/";

/// `/openapi/v2`
pub fn document(engine: &Engine, accept: &str) -> Response<Body> {
    let version = discovery::version();
    let version = version["gitVersion"].as_str().unwrap_or_default();
    if accept.contains("proto-openapi") {
        return respond::bytes(StatusCode::OK, PROTOBUF, encode(engine, version).into());
    }
    // Clients that take JSON take v3 too.
    respond::json(
        StatusCode::OK,
        &json!({
            "swagger": "2.0",
            "info": {"title": TITLE, "version": version},
            "paths": {},
            "definitions": {},
        }),
    )
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A length-delimited field.
fn field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint((number << 3) | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn text(number: u64, value: &Value, out: &mut Vec<u8>) {
    if let Some(text) = value.as_str() {
        field(number, text.as_bytes(), out);
    }
}

/// A field that is a message.
fn message(number: u64, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    field(number, &inner, out);
}

fn named(number: u64, name: &str, schema: &Value, out: &mut Vec<u8>) {
    message(number, out, |out| {
        field(1, name.as_bytes(), out);
        message(2, out, |out| self::schema(schema, out));
    });
}

/// `openapi.v2.Document { swagger = 1, info = 2, paths = 8, definitions = 9 }`
fn encode(engine: &Engine, version: &str) -> Vec<u8> {
    let mut out = Vec::new();
    field(1, b"2.0", &mut out);
    message(2, &mut out, |out| {
        field(1, TITLE.as_bytes(), out);
        field(2, version.as_bytes(), out);
    });
    let (schemas, paths) = openapi::everything(engine);
    message(8, &mut out, |out| self::paths(&paths, out));
    message(9, &mut out, |out| {
        for (name, schema) in &schemas {
            named(1, name, schema, out);
        }
    });
    out
}

/// `openapi.v2.Paths { path = 2 { name = 1, value = 2 { patch = 8 } } }`: what clients look for is which parameters a
/// patch of a kind takes.
fn paths(paths: &Map<String, Value>, out: &mut Vec<u8>) {
    for (name, item) in paths.iter().filter(|(_, item)| item["patch"].is_object()) {
        message(2, out, |out| {
            field(1, name.as_bytes(), out);
            message(2, out, |out| message(8, out, |out| operation(&item["patch"], out)));
        });
    }
}

/// `openapi.v2.Operation { operation_id = 5, parameters = 8, vendor_extension = 13 }`
fn operation(operation: &Value, out: &mut Vec<u8>) {
    text(5, &operation["operationId"], out);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema { in = 2, name = 4, type = 6 }
        message(8, out, |out| {
            message(1, out, |out| {
                message(2, out, |out| {
                    message(3, out, |out| {
                        text(2, &parameter["in"], out);
                        text(4, &parameter["name"], out);
                        text(6, &parameter["schema"]["type"], out);
                    });
                });
            });
        });
    }
    extensions(13, operation, out);
}

/// The reference of a schema, wrapped or not.
fn reference(schema: &Value) -> Option<String> {
    let direct = schema["$ref"].as_str();
    let target = direct.or_else(|| schema["allOf"][0]["$ref"].as_str())?;
    Some(format!("#/definitions/{}", target.strip_prefix(V3_PREFIX)?))
}

/// `openapi.v2.Schema`
fn schema(schema: &Value, out: &mut Vec<u8>) {
    if let Some(target) = reference(schema) {
        field(1, target.as_bytes(), out);
        text(4, &schema["description"], out);
        return extensions(31, schema, out);
    }
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    if int_or_string {
        field(2, b"int-or-string", out);
    } else {
        text(2, &schema["format"], out);
    }
    text(4, &schema["description"], out);
    for name in schema["required"].as_array().into_iter().flatten() {
        text(19, name, out);
    }
    let values = &schema["additionalProperties"];
    if values.is_object() {
        message(21, out, |out| message(1, out, |out| self::schema(values, out)));
    }
    let kind = if int_or_string { Some("string") } else { schema["type"].as_str() };
    if let Some(kind) = kind {
        message(22, out, |out| field(1, kind.as_bytes(), out));
    }
    if schema["items"].is_object() {
        message(23, out, |out| message(1, out, |out| self::schema(&schema["items"], out)));
    }
    if let Some(properties) = schema["properties"].as_object() {
        message(25, out, |out| self::properties(properties, out));
    }
    extensions(31, schema, out);
}

fn properties(properties: &Map<String, Value>, out: &mut Vec<u8>) {
    for (name, property) in properties {
        named(1, name, property, out);
    }
}

/// `vendor_extension { name = 1, value = 2 { yaml = 2 } }`, the field's number given.
fn extensions(number: u64, schema: &Value, out: &mut Vec<u8>) {
    for (name, value) in schema.as_object().into_iter().flatten() {
        let wanted = matches!(
            name.as_str(),
            "x-kubernetes-group-version-kind" | "x-kubernetes-patch-merge-key" | "x-kubernetes-patch-strategy"
        );
        if wanted {
            message(number, out, |out| {
                field(1, name.as_bytes(), out);
                // JSON is YAML.
                message(2, out, |out| field(2, value.to_string().as_bytes(), out));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Server, protobuf::wire::Fields};

    fn fields(bytes: &[u8], number: u64) -> Vec<&[u8]> {
        let all = Fields::new(bytes).map(Result::unwrap).filter(|(n, _)| *n == number);
        all.filter_map(|(_, field)| field.bytes().ok()).collect()
    }

    #[tokio::test]
    async fn the_document_defines_every_kind_with_its_fields() {
        let home = tempfile::tempdir().unwrap();
        let server = Server::open(Config::new(home.path())).await.unwrap();
        let document = encode(server.engine(), "v1");
        let definitions = fields(fields(&document, 9)[0], 1);
        let port = definitions.iter().find(|d| fields(d, 1)[0] == b"io.k8s.api.core.v1.ServicePort").unwrap();
        let properties = fields(fields(fields(port, 2)[0], 25)[0], 1);
        let names: Vec<&[u8]> = properties.iter().map(|p| fields(p, 1)[0]).collect();
        assert!(names.contains(&&b"targetPort"[..]));
        assert!(definitions.iter().any(|d| fields(d, 1)[0] == b"io.k8s.api.apps.v1.Deployment"));
        let paths = fields(fields(&document, 8)[0], 2);
        let pod = paths.iter().find(|p| fields(p, 1)[0] == b"/api/v1/namespaces/{namespace}/pods/{name}").unwrap();
        let patch = fields(fields(pod, 2)[0], 8)[0];
        let first = fields(fields(fields(fields(patch, 8)[0], 1)[0], 2)[0], 3)[0];
        assert_eq!(fields(first, 4)[0], b"dryRun");
        assert_eq!(fields(fields(patch, 13)[0], 1)[0], b"x-kubernetes-group-version-kind");
    }
}
