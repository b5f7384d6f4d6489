//! CustomResourceDefinitions.

use serde_json::{Value, json};

use super::{Errors, Rules, definition_schema, immutable, list, names, set_default};
use crate::{object, status::FieldError};

/// CustomResourceDefinitions.
pub struct Definition;

impl Rules for Definition {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else {
            return;
        };
        set_default(spec, "conversion", json!({"strategy": "None"}));
        let Some(kind) = spec["names"]["kind"].as_str().map(str::to_owned) else {
            return;
        };
        set_default(&mut spec["names"], "singular", kind.to_lowercase());
        set_default(&mut spec["names"], "listKind", format!("{kind}List"));
    }

    fn prepare_create(&self, object: &mut Value) {
        establish(object, &Value::Null);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        establish(new, &old["status"]);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let plural = spec["names"]["plural"].as_str().unwrap_or_default();
        for (field, value) in [
            ("spec.group", group),
            ("spec.names.plural", plural),
            ("spec.names.kind", spec["names"]["kind"].as_str().unwrap_or_default()),
        ] {
            if value.is_empty() {
                errors.push(FieldError::required(field, ""));
            }
        }
        if !group.is_empty()
            && let Some(text) = names::dns1123_subdomain(group)
        {
            errors.push(FieldError::invalid("spec.group", &group.into(), text));
        }
        if object::name(object) != format!("{plural}.{group}") {
            errors.push(FieldError::invalid(
                "metadata.name",
                &object::name(object).into(),
                "must be spec.names.plural+\".\"+spec.group",
            ));
        }
        let scopes = ["Cluster", "Namespaced"];
        if !scopes.iter().any(|s| spec["scope"] == *s) {
            errors.push(FieldError::not_supported("spec.scope", &spec["scope"], &scopes));
        }
        if spec["preserveUnknownFields"] == true {
            errors.push(FieldError::invalid("spec.preserveUnknownFields", &true.into(), "must be false"));
        }
        versions(&spec["versions"], errors);
        if spec["conversion"]["strategy"] != "None" {
            errors.push(FieldError::not_supported(
                "spec.conversion.strategy",
                &spec["conversion"]["strategy"],
                &["None"],
            ));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        for field in ["group", "scope"] {
            immutable(&format!("spec.{field}"), &new["spec"][field], &old["spec"][field], errors);
        }
        for field in ["plural", "kind"] {
            let name = |object: &Value| object["spec"]["names"][field].clone();
            immutable(&format!("spec.names.{field}"), &name(new), &name(old), errors);
        }
        for (index, version) in list(&new["status"]["storedVersions"]).iter().enumerate() {
            if !list(&new["spec"]["versions"]).iter().any(|v| v["name"] == *version) {
                let field = format!("status.storedVersions[{index}]");
                errors.push(FieldError::invalid(
                    field,
                    version,
                    "missing from spec.versions; every stored version must remain in spec",
                ));
            }
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn versions(value: &Value, errors: &mut Errors) {
    let versions = list(value);
    let stored = versions.iter().filter(|v| v["storage"] == true).count();
    if stored != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            value,
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = version["name"].as_str().unwrap_or_default();
        if let Some(text) = names::dns1035_label(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), text));
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        let field = format!("{path}.schema.openAPIV3Schema");
        if schema.is_object() {
            definition_schema::validate(schema, &field, errors);
        } else {
            errors.push(FieldError::required(field, "schemas are required"));
        }
        subresources(&version["subresources"], &format!("{path}.subresources"), errors);
        selectable(&version["selectableFields"], schema, &format!("{path}.selectableFields"), errors);
    }
    let mut seen = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        if seen.contains(&&version["name"]) {
            errors.push(FieldError::duplicate(format!("spec.versions[{index}].name"), &version["name"]));
        }
        seen.push(&version["name"]);
    }
}

fn selectable(fields: &Value, schema: &Value, path: &str, errors: &mut Errors) {
    const MAX: usize = 8;
    if list(fields).len() > MAX {
        errors.push(FieldError {
            reason: "FieldValueTooMany",
            field: path.into(),
            message: format!("Too many: {}: must have at most {MAX} items", list(fields).len()),
        });
    }
    for (index, field) in list(fields).iter().enumerate() {
        let wanted = field["jsonPath"].as_str().unwrap_or_default();
        let steps = wanted.trim_start_matches('.').split('.');
        let found = steps.fold(schema, |at, step| &at["properties"][step]);
        let plain = ["string", "boolean", "integer"].iter().any(|kind| found["type"] == *kind);
        let outside = !wanted.starts_with('.') || wanted.starts_with(".metadata");
        if outside || !plain {
            let text = "must point to a field of type string, boolean or integer outside of metadata";
            errors.push(FieldError::invalid(format!("{path}[{index}].jsonPath"), &wanted.into(), text));
        }
    }
}

fn subresources(value: &Value, path: &str, errors: &mut Errors) {
    let scale = &value["scale"];
    if !scale.is_object() {
        return;
    }
    for (key, below) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let field = format!("{path}.scale.{key}");
        match scale[key].as_str().unwrap_or_default() {
            "" => errors.push(FieldError::required(field, "")),
            text if text.starts_with(below) && !text.contains('[') => {}
            text => {
                let wrong = format!("should be a json path under {}", below.trim_end_matches('.'));
                errors.push(FieldError::invalid(field, &text.into(), wrong));
            }
        }
    }
}

/// A definition is established as soon as it is stored, unless the engine finds its names taken.
fn establish(object: &mut Value, old: &Value) {
    let storage = list(&object["spec"]["versions"]).iter().find(|v| v["storage"] == true);
    let storage = storage.map_or(Value::Null, |v| v["name"].clone());
    let mut stored = list(&old["storedVersions"]).to_vec();
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let since = |kind: &str| {
        list(&old["conditions"])
            .iter()
            .find(|c| c["type"] == kind && c["status"] == "True")
            .map_or_else(|| crate::clock::now().into(), |c| c["lastTransitionTime"].clone())
    };
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "lastTransitionTime": since(kind), "message": message, "reason": reason,
            "status": "True", "type": kind,
        })
    };
    let mut conditions = vec![
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ];
    let ours = ["NamesAccepted", "Established"];
    conditions.extend(list(&old["conditions"]).iter().filter(|c| !ours.iter().any(|o| c["type"] == *o)).cloned());
    object["status"] = json!({
        "acceptedNames": object["spec"]["names"],
        "conditions": conditions,
        "storedVersions": stored,
    });
}
