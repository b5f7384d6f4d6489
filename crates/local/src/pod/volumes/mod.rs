//! The volumes of a pod.

mod claim;
mod content;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, Pod, Volume, VolumeMount};
use serde_json::Value;

use self::content::Source;
use self::files::Files;
use super::fields::{Addresses, Capacity};
use super::objects::Objects;
use crate::container::spec;
use crate::paths::PodPaths;

/// What volumes refer to.
pub(crate) struct Scope<'a> {
    pub(crate) pod: &'a Pod,
    /// The same pod as it came.
    pub(crate) object: &'a Value,
    pub(crate) addresses: Addresses<'a>,
    pub(crate) capacity: Capacity,
    pub(crate) objects: &'a Objects,
    pub(crate) paths: &'a PodPaths,
    /// The cluster's state directory, which no volume may show.
    pub(crate) state: &'a Path,
    /// Whether files can be given to other ids.
    pub(crate) many_ids: bool,
}

/// The volumes of a pod that exist, and what is needed to keep them up to date.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    places: BTreeMap<String, PathBuf>,
    published: BTreeMap<String, Files>,
    /// Those that may only be read.
    read_only: BTreeSet<String>,
    /// When a volume's tokens must be renewed, in seconds since 1970.
    renew: BTreeMap<String, i64>,
}

impl Volumes {
    /// Makes or updates all volumes.
    pub(crate) async fn prepare(&mut self, scope: &Scope<'_>, now: i64) -> Result<(), String> {
        for volume in scope.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let prepared = self.prepare_one(volume, scope, now).await;
            prepared.map_err(|e| format!("MountVolume.SetUp failed for volume {:?} : {e}", volume.name))?;
        }
        Ok(())
    }

    async fn prepare_one(&mut self, volume: &Volume, scope: &Scope<'_>, now: i64) -> Result<(), String> {
        let place = match self.lasting(volume, scope).await? {
            Some(place) => place,
            None => self.publish(volume, scope, now).await?,
        };
        self.places.insert(volume.name.clone(), place);
        Ok(())
    }

    /// The place of a volume that is made once; none for one that shows objects.
    async fn lasting(&mut self, volume: &Volume, scope: &Scope<'_>) -> Result<Option<PathBuf>, String> {
        if let Some(host) = &volume.host_path {
            return host_path(host, scope.state).map(Some);
        }
        let claim = claim::of(volume, scope.pod);
        if volume.empty_dir.is_none() && claim.is_none() {
            return Ok(None);
        }
        if let Some(known) = self.places.get(&volume.name) {
            return Ok(Some(known.clone()));
        }
        if let Some(claim) = claim {
            if claim.read_only {
                self.read_only.insert(volume.name.clone());
            }
            return claim::place(&claim.name, scope).await.map(Some);
        }
        let place = scope.paths.volume(&volume.name);
        empty_dir(&place, group(scope)).map_err(|e| e.to_string())?;
        Ok(Some(place))
    }

    /// Shows objects of the cluster as they are now.
    async fn publish(&mut self, volume: &Volume, scope: &Scope<'_>, now: i64) -> Result<PathBuf, String> {
        let place = scope.paths.volume(&volume.name);
        let due = self.renew.get(&volume.name).is_some_and(|at| *at <= now);
        let old = self.published.get(&volume.name).filter(|_| !due);
        let source = Source::of(volume)?;
        let content = content::read(&source, scope, old, now).await?;
        if let Some(at) = content.renew {
            self.renew.insert(volume.name.clone(), at);
        }
        if self.published.get(&volume.name) != Some(&content.files) {
            files::publish(&place, &content.files, group(scope)).map_err(|e| e.to_string())?;
            self.published.insert(volume.name.clone(), content.files);
        }
        Ok(place)
    }

    /// Whether anything of the pod changes by itself.
    pub(crate) fn refreshed(&self) -> bool {
        !self.published.is_empty()
    }

    /// What to mount into one container.
    pub(crate) fn mounts(
        &self,
        container: &Container,
        expand: impl Fn(&str) -> String,
    ) -> Result<Vec<spec::Volume>, String> {
        let mounts = container.volume_mounts.iter().flatten();
        let mut found = mounts.map(|mount| self.mount(mount, &expand)).collect::<Result<Vec<_>, _>>()?;
        // A mount inside another comes after it.
        found.sort_by_key(|mount| mount.target.components().count());
        Ok(found)
    }

    fn mount(&self, mount: &VolumeMount, expand: impl Fn(&str) -> String) -> Result<spec::Volume, String> {
        let place = self.places.get(&mount.name).ok_or_else(|| format!("no volume {:?}", mount.name))?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(expression)) => Some(expand(expression)),
            (None, None) => None,
        };
        let source = match sub.filter(|sub| !sub.is_empty()) {
            None => place.clone(),
            Some(sub) => sub_path(place, &sub)?,
        };
        let kept = self.published.contains_key(&mount.name) || self.read_only.contains(&mount.name);
        let read_only = mount.read_only == Some(true) || kept;
        Ok(spec::Volume { source, target: PathBuf::from(&mount.mount_path), read_only })
    }
}

fn group(scope: &Scope<'_>) -> Option<u32> {
    let context = scope.pod.spec.as_ref()?.security_context.as_ref()?;
    context.fs_group.filter(|_| scope.many_ids).and_then(|group| u32::try_from(group).ok())
}

fn empty_dir(place: &Path, group: Option<u32>) -> std::io::Result<()> {
    fs::create_dir_all(place)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(place, None, Some(group))?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

/// A directory or file of the host, unless it shows the cluster's own state.
fn host_path(source: &HostPathVolumeSource, state: &Path) -> Result<PathBuf, String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    own_affair(path, path, state)?;
    if kind == "DirectoryOrCreate" {
        fs::create_dir_all(path).map_err(|e| format!("hostPath {}: {e}", source.path))?;
    }
    let real = path.canonicalize().map_err(|e| format!("hostPath {}: {e}", source.path))?;
    let right = match kind {
        "Directory" | "DirectoryOrCreate" => real.is_dir(),
        "File" | "FileOrCreate" => real.is_file(),
        _ => true,
    };
    if !right {
        return Err(format!("hostPath type check failed: {} is not a {kind}", source.path));
    }
    own_affair(path, &real, state)?;
    Ok(real)
}

/// Refuses what would show one workload's secrets to another: the cluster's state, and processes with what they see.
/// `/proc` itself is the container's own when it is mounted.
fn own_affair(path: &Path, real: &Path, state: &Path) -> Result<(), String> {
    let path = path.display();
    if state.starts_with(real) || real.starts_with(state) {
        return Err(format!("hostPath {path} shows the state of the cluster itself"));
    }
    let of_process = |part: &str| part.parse::<u32>().is_ok();
    if let Ok(below) = real.strip_prefix("/proc")
        && below.iter().next().and_then(|part| part.to_str()).is_some_and(of_process)
    {
        return Err(format!(
            "hostPath {path} shows a process of the node; mount /proc, which shows the container's own"
        ));
    }
    Ok(())
}

/// A path below a volume that doesn't leave it, made as a directory where it is absent.
fn sub_path(place: &Path, sub: &str) -> Result<PathBuf, String> {
    let outside = || format!("subPath {sub:?} leads outside of the volume");
    let relative = Path::new(sub);
    if relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(outside());
    }
    let full = place.join(relative);
    if !full.exists() {
        fs::create_dir_all(&full).map_err(|e| format!("subPath {sub:?}: {e}"))?;
    }
    let real = full.canonicalize().map_err(|e| format!("subPath {sub:?}: {e}"))?;
    let base = place.canonicalize().map_err(|e| format!("subPath {sub:?}: {e}"))?;
    if real.starts_with(base) { Ok(real) } else { Err(outside()) }
}
