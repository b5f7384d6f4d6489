//! The patch formats: JSON patch, merge patch and strategic merge patch.

mod strategic;

use serde_json::Value;

use crate::status::Status;
pub use strategic::{apply as strategic, merge_key};

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902 operations.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own merge, which knows the keys of lists; built-in kinds only.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// By content type of a request.
    pub fn from_media_type(text: &str) -> Option<Self> {
        match text.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// RFC 7386: null removes, maps merge, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let map = crate::object::as_map(target);
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merge(map.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), Status> {
    const MAX_OPERATIONS: usize = 10_000;
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    if operations.0.len() > MAX_OPERATIONS {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}"),
        ));
    }
    json_patch::patch(target, &operations).map_err(|e| {
        Status::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {e}"))
    })
}

#[cfg(test)]
mod tests;
