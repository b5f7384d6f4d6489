//! The files of volumes that show objects of the cluster.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::Scope;
use super::files::{Files, VolumeFile};
use crate::pod::fields;
use crate::pod::objects::{Data, TokenWish};

const DEFAULT_MODE: i32 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// Where the files of a volume come from.
pub(super) struct Source {
    parts: Vec<VolumeProjection>,
    mode: u32,
}

/// The files as they are now.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) files: Files,
    /// When a token among them must be renewed, in seconds since 1970.
    pub(super) renew: Option<i64>,
}

impl Source {
    /// What a volume shows; single sources are projections with one part.
    pub(super) fn of(volume: &Volume) -> Result<Source, String> {
        let mut part = VolumeProjection::default();
        let mode;
        if let Some(source) = &volume.projected {
            let parts = source.sources.clone().unwrap_or_default();
            return Ok(Source { parts, mode: bits(source.default_mode) });
        } else if let Some(source) = &volume.config_map {
            mode = source.default_mode;
            part.config_map = Some(k8s_openapi::api::core::v1::ConfigMapProjection {
                name: source.name.clone(),
                items: source.items.clone(),
                optional: source.optional,
            });
        } else if let Some(source) = &volume.secret {
            mode = source.default_mode;
            part.secret = Some(k8s_openapi::api::core::v1::SecretProjection {
                name: source.secret_name.clone().unwrap_or_default(),
                items: source.items.clone(),
                optional: source.optional,
            });
        } else if let Some(source) = &volume.downward_api {
            mode = source.default_mode;
            part.downward_api = Some(k8s_openapi::api::core::v1::DownwardAPIProjection { items: source.items.clone() });
        } else {
            return Err("this kind of volume does not exist in a local cluster; there are emptyDir, \
                        configMap, secret, downwardAPI, projected, hostPath and persistentVolumeClaim"
                .to_owned());
        }
        Ok(Source { parts: vec![part], mode: bits(mode) })
    }
}

fn bits(mode: Option<i32>) -> u32 {
    u32::try_from(mode.unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777
}

/// Reads all parts. A token in `old` is kept; a new one is asked for where there is none.
pub(super) async fn read(source: &Source, scope: &Scope<'_>, old: Option<&Files>, now: i64) -> Result<Content, String> {
    let mut content = Content::default();
    for part in &source.parts {
        if let Some(from) = &part.config_map {
            let optional = from.optional == Some(true);
            let data = scope.objects.config_map(&from.name, optional).await?;
            select(&mut content.files, data, from.items.as_deref(), optional, source.mode)?;
        }
        if let Some(from) = &part.secret {
            let optional = from.optional == Some(true);
            let data = scope.objects.secret(&from.name, optional).await?;
            select(&mut content.files, data, from.items.as_deref(), optional, source.mode)?;
        }
        for item in part.downward_api.iter().flat_map(|from| from.items.iter().flatten()) {
            let data = downward(item, scope)?.into_bytes();
            let mode = item.mode.map_or(source.mode, |mode| bits(Some(mode)));
            content.files.insert(item.path.clone(), VolumeFile { data, mode });
        }
        if let Some(from) = &part.service_account_token {
            token(&mut content, from, scope, old, now, source.mode).await?;
        }
    }
    Ok(content)
}

fn downward(item: &DownwardAPIVolumeFile, scope: &Scope<'_>) -> Result<String, String> {
    if let Some(from) = &item.field_ref {
        return fields::field(scope.object, scope.addresses, &from.field_path);
    }
    let from = item.resource_field_ref.as_ref().ok_or("an item without a source")?;
    let name = from.container_name.as_deref().unwrap_or_default();
    let spec = scope.pod.spec.as_ref().ok_or("a pod without a spec")?;
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let container = containers.find(|c| c.name == name).ok_or_else(|| format!("no container {name:?}"))?;
    fields::resource(container, from, scope.capacity)
}

fn select(
    files: &mut Files,
    mut data: Data,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(data.into_iter().map(|(key, data)| (key, VolumeFile { data, mode })));
        return Ok(());
    };
    for item in items {
        let mode = item.mode.map_or(mode, |mode| bits(Some(mode)));
        match data.remove(&item.key) {
            Some(data) => {
                files.insert(item.path.clone(), VolumeFile { data, mode });
            }
            None if optional => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}

async fn token(
    content: &mut Content,
    from: &ServiceAccountTokenProjection,
    scope: &Scope<'_>,
    old: Option<&Files>,
    now: i64,
    mode: u32,
) -> Result<(), String> {
    let seconds = from.expiration_seconds.unwrap_or(TOKEN_SECONDS);
    let file = match old.and_then(|old| old.get(&from.path)) {
        Some(file) => file.clone(),
        None => {
            let metadata = &scope.pod.metadata;
            let spec = scope.pod.spec.as_ref();
            let wish = TokenWish {
                service_account: spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default"),
                audience: from.audience.as_deref().filter(|audience| !audience.is_empty()),
                seconds,
                pod: metadata.name.as_deref().unwrap_or_default(),
                uid: metadata.uid.as_deref().unwrap_or_default(),
            };
            let (token, expires) = scope.objects.token(&wish).await?;
            let at = now + (expires - now) * 4 / 5;
            content.renew = Some(content.renew.map_or(at, |before| before.min(at)));
            VolumeFile { data: token.into_bytes(), mode }
        }
    };
    content.files.insert(from.path.clone(), file);
    Ok(())
}
