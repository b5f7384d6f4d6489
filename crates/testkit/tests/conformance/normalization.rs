//! Group `normalization`: the path that the application receives, by the mesh's setting.

use lateen_proxy_core::Tables;
use lateen_proxy_core::chain::Terminal;
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::normalize::{Normalized, normalize};
use lateen_testkit::conformance::{Score, read_all};
use lateen_testkit::simulation::{World, view};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct File {
    mode: String,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(rename = "in")]
    sent: String,
    #[serde(default)]
    out: Option<String>,
    #[serde(default)]
    status: Option<u16>,
}

#[test]
fn normalization() -> anyhow::Result<()> {
    let Some(folder) = crate::group("normalization") else { return Ok(()) };
    let mut score = Score::new("normalization");
    for (name, file) in read_all::<File>(&folder)? {
        let world = World::new(&json!({"pathNormalization": {"normalization": file.mode}}));
        let tables = world.tables(&view("sidecar", "default", &["1.1.1.1".to_owned()], &json!({}))?)?;
        let managers: Vec<_> = managers(&tables).collect();
        anyhow::ensure!(!managers.is_empty(), "the proxy serves HTTP somewhere");
        for pair in file.pairs {
            let outcome = managers.iter().try_for_each(|hcm| check(hcm, &pair));
            score.count(format!("{name}: {}", pair.sent), outcome);
        }
    }
    score.settle()
}

/// Every connection manager of the proxy: the setting holds for all.
fn managers(tables: &Tables) -> impl Iterator<Item = &Hcm> {
    tables.listeners().flat_map(|listener| listener.all_chains()).filter_map(|chain| match &chain.terminal {
        Terminal::Http(hcm) => Some(&**hcm),
        _ => None,
    })
}

fn check(hcm: &Hcm, pair: &Pair) -> Result<(), String> {
    let received = match normalize(&pair.sent, hcm.normalization()) {
        Normalized::Path(path) => (Some(path.into_owned()), None),
        Normalized::Redirect(_) => (None, Some(307)),
        Normalized::Refused(_) => (None, Some(400)),
    };
    if received == (pair.out.clone(), pair.status) {
        return Ok(());
    }
    Err(format!("{received:?}, expected {:?} {:?}", pair.out, pair.status))
}
