//! CustomResourceDefinitions as resources.

use std::sync::Arc;

use serde_json::Value;

use super::{Column, Resource, Scale, Version};
use crate::{rules, schema::Schema};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// The resource that a CustomResourceDefinition defines; none where its names were not accepted.
pub fn resource(definition: &Value) -> Option<Resource> {
    let (spec, status) = (&definition["spec"], &definition["status"]);
    let conditions = status["conditions"].as_array()?;
    if !conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True") {
        return None;
    }
    let names = &status["acceptedNames"];
    let group = spec["group"].as_str()?.to_owned();
    let plural = names["plural"].as_str()?.to_owned();
    let kind = names["kind"].as_str()?.to_owned();
    let all = spec["versions"].as_array()?;
    let mut versions: Vec<Version> =
        all.iter().zip(schemas(all)).map(|(v, schema)| version(v, schema, &group, &kind)).collect();
    versions.sort_by_key(|v| std::cmp::Reverse(rank(&v.name)));
    let storage = all.iter().find(|v| v["storage"] == true)?;
    Some(Resource {
        singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned),
        list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        storage: text(&storage["name"]),
        collection: Arc::from(format!("{group}/{plural}")),
        rules: &rules::Custom,
        custom: true,
        terminating: crate::object::is_deleting(definition),
        virtual_only: false,
        versions,
        group,
        plural,
        kind,
    })
}

/// The schemas of all versions; equal ones are compiled and kept once.
fn schemas(versions: &[Value]) -> Vec<Schema> {
    let of = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    let mut known: Vec<(Value, Schema)> = Vec::new();
    let each = versions.iter().map(of).map(|json| {
        if let Some((_, same)) = known.iter().find(|(other, _)| *other == json) {
            return same.clone();
        }
        let schema = Schema::custom(json.clone());
        known.push((json, schema.clone()));
        schema
    });
    each.collect()
}

fn version(version: &Value, schema: Schema, group: &str, kind: &str) -> Version {
    let name = text(&version["name"]);
    let deprecated = (version["deprecated"] == true).then(|| {
        version["deprecationWarning"]
            .as_str()
            .map_or_else(|| format!("{group}/{name} {kind} is deprecated"), str::to_owned)
    });
    let subresources = &version["subresources"];
    let scale = &subresources["scale"];
    Version {
        served: version["served"] == true,
        deprecated,
        status: subresources["status"].is_object(),
        scale: scale.is_object().then(|| Scale {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        }),
        schema,
        columns: columns(&version["additionalPrinterColumns"]),
        selectable: selectable(&version["selectableFields"]),
        name,
    }
}

fn selectable(fields: &Value) -> Vec<String> {
    let paths = fields.as_array().into_iter().flatten().filter_map(|f| f["jsonPath"].as_str());
    paths.map(|path| path.trim_start_matches('.').to_owned()).collect()
}

fn columns(columns: &Value) -> Vec<Column> {
    columns
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| Column {
            name: text(&c["name"]),
            kind: text(&c["type"]),
            format: text(&c["format"]),
            description: text(&c["description"]),
            priority: c["priority"].as_i64().unwrap_or(0),
            path: text(&c["jsonPath"]),
        })
        .collect()
}

/// Kubernetes' order of versions: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > others.
pub fn rank(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..end].parse().ok()?;
        match &rest[end..] {
            "" => Some((3, major, 0)),
            pre => {
                let (level, minor) = match pre.strip_prefix("beta") {
                    Some(minor) => (2, minor),
                    None => (1, pre.strip_prefix("alpha")?),
                };
                Some((level, major, minor.parse().ok()?))
            }
        }
    };
    parse().unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn stable_versions_are_preferred_then_beta_then_alpha() {
        let mut versions = ["v1alpha3", "foo", "v1beta1", "v1", "v2beta1", "v10", "v1beta2"];
        versions.sort_by_key(|v| std::cmp::Reverse(rank(v)));
        assert_eq!(versions, ["v10", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha3", "foo"]);
    }
}
