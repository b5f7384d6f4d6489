//! Which image references the built-in images answer to.

/// A built-in image, as a node agent needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builtin {
    /// The program to run: `lateen image NAME -- ARGS`.
    pub name: &'static str,
    /// The image's entry point. Its first word, `lateen`, is the binary that is running; a container's `command`
    /// takes the place of all of it.
    pub entrypoint: &'static [&'static str],
    /// The arguments for a container that gives none.
    pub default_args: &'static [&'static str],
    /// Programs that the image has on its PATH, each a link to the `lateen` binary (see [`crate::applet`]).
    pub applets: &'static [&'static str],
    /// The references that it stands in for, without tag; those of the well-known registries without registry.
    pub references: &'static [&'static str],
    /// One line for people.
    pub description: &'static str,
}

/// Registries whose images these names mean.
const REGISTRIES: [&str; 6] =
    ["docker.io", "index.docker.io", "registry.hub.docker.com", "quay.io", "ghcr.io", "mirror.gcr.io"];

const BUILTINS: [Builtin; 7] = [
    Builtin {
        name: "http-echo",
        entrypoint: &["lateen", "image", "http-echo", "--"],
        default_args: &[],
        applets: &["http-echo"],
        references: &["hashicorp/http-echo"],
        description: "answers every request with a text (-text, -listen, -status-code)",
    },
    Builtin {
        name: "curl",
        entrypoint: &["lateen", "image", "curl", "--"],
        default_args: &[],
        applets: &["curl"],
        references: &["curlimages/curl", "curl/curl", "governmentpaas/curl-ssl"],
        description: "an HTTP client with curl's options and exit codes",
    },
    Builtin {
        name: "httpbin",
        entrypoint: &["lateen", "image", "httpbin", "--"],
        default_args: &["-b", "0.0.0.0:80"],
        applets: &["httpbin", "gunicorn", "curl"],
        references: &["kennethreitz/httpbin", "kong/httpbin"],
        description: "shows requests and makes responses to order, on port 80",
    },
    Builtin {
        name: "go-httpbin",
        entrypoint: &["lateen", "image", "go-httpbin", "--"],
        default_args: &[],
        applets: &["go-httpbin"],
        references: &["mccutchen/go-httpbin"],
        description: "shows requests and makes responses to order, on port 8080",
    },
    Builtin {
        name: "istio-app",
        entrypoint: &["lateen", "image", "istio-app", "--"],
        default_args: &[],
        applets: &["istio-app", "server", "client"],
        references: &[
            "istio/app",
            "gcr.io/istio-testing/app",
            "registry.istio.io/testing/app",
            "registry.k8s.io/gateway-api/conformance/echo-advanced",
        ],
        description: "the echo workload of Istio's tests: tells what it saw, makes calls when asked",
    },
    Builtin {
        name: "echo-basic",
        entrypoint: &["lateen", "image", "echo-basic", "--"],
        default_args: &[],
        applets: &["echo-basic"],
        references: &[
            "gcr.io/k8s-staging-gateway-api/echo-basic",
            "registry.k8s.io/gateway-api/echo-basic",
            "registry.k8s.io/gateway-api/conformance/echo-basic",
        ],
        description: "the backend of the Gateway API's conformance tests: answers with what it was asked",
    },
    Builtin {
        name: "ext-authz",
        entrypoint: &["lateen", "image", "ext-authz", "--"],
        default_args: &[],
        applets: &["ext-authz"],
        references: &["istio/ext-authz", "gcr.io/istio-testing/ext-authz", "registry.istio.io/testing/ext-authz"],
        description: "the external authorizer of Istio's samples: allows requests with the header x-ext-authz: allow",
    },
];

/// All built-in images.
pub fn list() -> &'static [Builtin] {
    &BUILTINS
}

/// The built-in image that serves an image reference, with or without registry, tag and digest.
pub fn resolve(image: &str) -> Option<Builtin> {
    let path = repository(image);
    BUILTINS.iter().find(|builtin| builtin.references.contains(&path)).cloned()
}

/// The repository of a reference, without tag and without a well-known registry.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let image = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    match image.split_once('/') {
        Some((registry, rest)) if REGISTRIES.contains(&registry) => rest,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_find_their_image_whatever_their_registry_and_tag() {
        for (image, expected) in [
            ("hashicorp/http-echo", Some("http-echo")),
            ("hashicorp/http-echo:1.0.0", Some("http-echo")),
            ("docker.io/curlimages/curl", Some("curl")),
            ("docker.io/curlimages/curl:8.16.0@sha256:0123", Some("curl")),
            ("quay.io/curl/curl:latest", Some("curl")),
            ("kennethreitz/httpbin", Some("httpbin")),
            ("docker.io/kong/httpbin:0.1.0", Some("httpbin")),
            ("docker.io/mccutchen/go-httpbin:v2.15.0", Some("go-httpbin")),
            ("istio/app:1.27.0", Some("istio-app")),
            ("gcr.io/istio-testing/app:latest", Some("istio-app")),
            ("registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0", Some("echo-basic")),
            ("gcr.io/istio-testing/ext-authz:latest", Some("ext-authz")),
            ("gcr.io/curlimages/curl", None),
            ("localhost:5000/hashicorp/http-echo", None),
            ("example.com/curlimages/curl", None),
            ("nginx", None),
            ("", None),
        ] {
            assert_eq!(resolve(image).map(|builtin| builtin.name), expected, "{image}");
        }
    }

    #[test]
    fn every_image_can_be_run_under_the_name_that_its_entry_point_uses() {
        for builtin in list() {
            assert_eq!(builtin.entrypoint[2], builtin.name);
            assert_eq!(crate::applet(builtin.name), Some(builtin.name));
        }
        assert_eq!(crate::applet("/usr/bin/curl"), Some("curl"));
        assert_eq!(crate::applet("/usr/bin/lateen"), None);
    }
}
