//! Paths of the REST API.

use crate::{gvr::Gvr, status::Status};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub enum Path {
    /// A resource, an object of it, or a subresource.
    Resource(Target),
    /// Discovery, health and the like.
    Other,
}

/// The resource part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which resource.
    pub gvr: Gvr,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: String,
    /// Empty: the collection.
    pub name: String,
    /// Empty: the object itself.
    pub subresource: String,
}

fn decode(text: &str) -> Result<String, Status> {
    super::query::percent_decode(text, false)
        .filter(|t| !t.contains('\0'))
        .ok_or_else(|| Status::bad_request("the path is not valid UTF-8"))
}

impl Path {
    /// Reads a path.
    pub fn parse(path: &str) -> Result<Self, Status> {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Ok(Self::Other),
        };
        if rest.is_empty() {
            return Ok(Self::Other);
        }
        let is_namespace_part = |part: &&str| matches!(*part, "status" | "finalize");
        let (namespace, rest) = match rest {
            ["namespaces", ns, third, more @ ..] if !(group.is_empty() && is_namespace_part(third)) => {
                let start = rest.len() - more.len() - 1;
                (*ns, &rest[start..])
            }
            _ => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", String::new()),
            [resource, name] => (*resource, *name, String::new()),
            // What follows is the other side's path; see `after_proxy`.
            [resource, name, "proxy", ..] => (*resource, *name, "proxy".to_owned()),
            [resource, name, sub @ ..] if sub.len() < 8 => (*resource, *name, sub.join("/")),
            _ => return Ok(Self::Other),
        };
        Ok(Self::Resource(Target {
            gvr: Gvr::new(decode(group)?, decode(version)?, decode(resource)?),
            namespace: decode(namespace)?,
            name: decode(name)?,
            subresource: decode(&subresource)?,
        }))
    }
}

/// What follows the subresource `proxy` in a path, as it was sent.
pub fn after_proxy(path: &str) -> &str {
    let before = if path.starts_with("/api/v1/namespaces/") { 8 } else { 6 };
    path.match_indices('/').nth(before - 1).map_or("", |(at, _)| &path[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let cases = [
            ("/api/v1/pods", ("", "pods", "", "", "")),
            ("/api/v1/namespaces/a/pods/b/log", ("", "pods", "a", "b", "log")),
            ("/api/v1/namespaces", ("", "namespaces", "", "", "")),
            ("/api/v1/namespaces/a", ("", "namespaces", "", "a", "")),
            ("/api/v1/namespaces/a/finalize", ("", "namespaces", "", "a", "finalize")),
            ("/apis/apps/v1/namespaces/a/deployments", ("apps", "deployments", "a", "", "")),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", ("apps", "deployments", "a", "b", "scale")),
            ("/api/v1/namespaces/a/pods/b:80/proxy/x/y", ("", "pods", "a", "b:80", "proxy")),
            ("/apis/x.io/v1/widgets/system%3Aw", ("x.io", "widgets", "", "system:w", "")),
        ];
        for (path, (group, resource, namespace, name, sub)) in cases {
            let Ok(Path::Resource(target)) = Path::parse(path) else { panic!("{path}") };
            assert_eq!(target.gvr, Gvr::new(group, "v1", resource), "{path}");
            assert_eq!((&*target.namespace, &*target.name, &*target.subresource), (namespace, name, sub), "{path}");
        }
        assert_eq!(after_proxy("/api/v1/namespaces/a/pods/b:80/proxy"), "");
        assert_eq!(after_proxy("/api/v1/namespaces/a/pods/b:80/proxy/"), "/");
        assert_eq!(after_proxy("/api/v1/namespaces/a/services/b/proxy/x%2Fy//z/"), "/x%2Fy//z/");
        for path in ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz"] {
            assert_eq!(Path::parse(path), Ok(Path::Other), "{path}");
        }
    }
}
