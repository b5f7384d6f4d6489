//! The images that containers of the local cluster may use.

use lateen_local::{Image, ImageResolver};

/// The mesh's own image, whatever its tag: it is this binary.
const MESH: &str = "lateen/lateen";
const HOST: &str = "host";
const IMAGE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// This binary, the built-in images and the host's own programs.
pub struct Images;

impl ImageResolver for Images {
    fn resolve(&self, reference: &str) -> Option<Image> {
        if reference == HOST {
            return Some(Image::Host);
        }
        if is_mesh(reference) {
            return Some(builtin(&["lateen"], &[], &["curl"]));
        }
        let found = lateen_images::resolve(reference)?;
        Some(builtin(found.entrypoint, found.default_args, found.applets))
    }

    fn available(&self) -> Vec<String> {
        let builtins = lateen_images::list().iter().flat_map(|builtin| builtin.references);
        let own = [format!("{HOST} (programs of this machine; give a command)")];
        builtins.map(|reference| (*reference).to_owned()).chain(own).collect()
    }
}

/// `lateen/lateen` with any tag, from any registry.
fn is_mesh(reference: &str) -> bool {
    let name = reference.split('@').next().unwrap_or(reference);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    name == MESH || name.strip_suffix(MESH).is_some_and(|registry| registry.ends_with('/'))
}

fn builtin(entrypoint: &[&str], cmd: &[&str], applets: &[&str]) -> Image {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Image::Builtin {
        entrypoint: owned(entrypoint),
        cmd: owned(cmd),
        applets: owned(applets),
        env: vec![("PATH".to_owned(), IMAGE_PATH.to_owned())],
        user: None,
        group: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_find_their_image() {
        for (reference, expect) in [
            ("host", Some("host")),
            ("lateen/lateen:0.1.0", Some("lateen")),
            ("registry.example.com:5000/lateen/lateen", Some("lateen")),
            ("hashicorp/http-echo:1.0", Some("lateen image http-echo --")),
            ("nolateen/lateenx", None),
            ("nginx:latest", None),
        ] {
            let found = Images.resolve(reference).map(|image| match image {
                Image::Host => "host".to_owned(),
                Image::Builtin { entrypoint, .. } => entrypoint.join(" "),
            });
            assert_eq!(found.as_deref(), expect, "{reference}");
        }
    }
}
