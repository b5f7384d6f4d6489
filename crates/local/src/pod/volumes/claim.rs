//! Persistent volumes: the directory behind a claim.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume};
use serde_json::Value;

use super::{Scope, group, host_path};
use crate::controllers::{PROVISIONED_BY, PROVISIONER};
use crate::paths::Home;

/// The claim that a volume uses.
pub(super) struct Used {
    pub(super) name: String,
    pub(super) read_only: bool,
}

/// The claim that a volume names, or the one made for it.
pub(super) fn of(volume: &Volume, pod: &Pod) -> Option<Used> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(Used { name: claim.claim_name.clone(), read_only: claim.read_only == Some(true) });
    }
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    volume.ephemeral.as_ref().map(|_| Used { name: format!("{pod}-{}", volume.name), read_only: false })
}

/// The directory of the volume that a claim is bound to.
pub(super) async fn place(claim: &str, scope: &Scope<'_>) -> Result<PathBuf, String> {
    let volume = scope.objects.volume_of(claim).await?;
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    if volume["metadata"]["annotations"][PROVISIONED_BY] == PROVISIONER {
        let place = Home::new(scope.state).volumes().join(name);
        if !place.is_dir() {
            return Err(format!("the directory of persistent volume {name:?} is gone: {}", place.display()));
        }
        share(&place, group(scope)).map_err(|e| format!("{}: {e}", place.display()))?;
        return Ok(place);
    }
    host_path(&source(name, &volume)?, scope.state)
}

/// The directory that a volume made by hand names.
fn source(name: &str, volume: &Value) -> Result<HostPathVolumeSource, String> {
    let spec = &volume["spec"];
    let path = spec["hostPath"]["path"].as_str().or_else(|| spec["local"]["path"].as_str());
    let path = path.ok_or_else(|| {
        format!("persistent volume {name:?} is of a kind that does not exist in a local cluster; there are hostPath and local")
    })?;
    let kind = spec["hostPath"]["type"].as_str().map(str::to_owned);
    Ok(HostPathVolumeSource { path: path.to_owned(), type_: kind })
}

/// Gives the directory itself to the pod's group; what is in it keeps its owners.
fn share(place: &Path, group: Option<u32>) -> std::io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(place, None, Some(group))?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o2777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_volume_made_by_hand_is_a_directory_of_the_host() {
        let of = |spec: Value| source("v", &json!({"spec": spec})).map(|s| s.path);
        assert_eq!(of(json!({"hostPath": {"path": "/data", "type": ""}})), Ok("/data".into()));
        assert_eq!(of(json!({"local": {"path": "/disk"}})), Ok("/disk".into()));
        assert!(of(json!({"nfs": {"server": "s"}})).unwrap_err().contains("does not exist in a local cluster"));
    }
}
