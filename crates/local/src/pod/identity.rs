//! Whom a container runs as.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::container::spec::Identity;

/// Ids that an image asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// The identity, and the user id that was asked for where it can't be had.
pub(crate) fn identity(
    spec: &PodSpec,
    container: &Container,
    image: ImageUser,
    many_ids: bool,
) -> Result<(Identity, Option<u32>), String> {
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let asked = own.run_as_user.or(pod.run_as_user);
    let uid = id(asked)?.or(image.uid).unwrap_or(0);
    let gid = id(own.run_as_group.or(pod.run_as_group))?;
    let gid = gid.or(image.gid.filter(|_| asked.is_none())).unwrap_or(0);
    if own.run_as_non_root.or(pod.run_as_non_root) == Some(true) && uid == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    let mut groups = vec![gid];
    for extra in pod.supplemental_groups.iter().flatten().chain(pod.fs_group.iter()) {
        groups.extend(id(Some(*extra))?);
    }
    let capabilities = own.capabilities.and_then(|capabilities| capabilities.add).unwrap_or_default();
    let identity = Identity { uid, gid, groups, many_ids, capabilities, privileged: own.privileged == Some(true) };
    if many_ids || (uid == 0 && gid == 0) {
        return Ok((identity, None));
    }
    let refused = (uid != 0).then_some(uid);
    Ok((Identity { uid: 0, gid: 0, groups: Vec::new(), ..identity }, refused))
}

fn id(value: Option<i64>) -> Result<Option<u32>, String> {
    value.map(|value| u32::try_from(value).map_err(|_| format!("{value} is not a user id"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(pod: Value, own: Value, many_ids: bool) -> Result<(Identity, Option<u32>), String> {
        let spec: PodSpec = serde_json::from_value(json!({"securityContext": pod, "containers": []})).unwrap();
        let container = serde_json::from_value(json!({"name": "c", "securityContext": own})).unwrap();
        identity(&spec, &container, ImageUser { uid: Some(100), gid: Some(101) }, many_ids)
    }

    #[test]
    fn the_container_wins_over_the_pod_and_the_pod_over_the_image() {
        let ids = |pod, own| check(pod, own, true).map(|(who, _)| (who.uid, who.gid));
        assert_eq!(ids(json!({}), json!({})), Ok((100, 101)));
        assert_eq!(ids(json!({"runAsUser": 5}), json!({})), Ok((5, 0)));
        assert_eq!(ids(json!({"runAsUser": 5}), json!({"runAsUser": 6, "runAsGroup": 7})), Ok((6, 7)));
        assert!(ids(json!({"runAsNonRoot": true}), json!({"runAsUser": 0})).is_err());
    }

    #[test]
    fn without_ids_everyone_is_root_and_that_is_said() {
        let (who, refused) = check(json!({"fsGroup": 9}), json!({"runAsUser": 6}), false).unwrap();
        assert_eq!((who.uid, who.gid, who.groups, refused), (0, 0, vec![], Some(6)));
        let (who, _) = check(json!({"fsGroup": 9}), json!({"runAsUser": 6}), true).unwrap();
        assert_eq!(who.groups, [0, 9]);
    }
}
