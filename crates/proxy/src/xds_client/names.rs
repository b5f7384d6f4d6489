//! Endpoints given by name are resolved here, again and again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::net::lookup_host;

use super::configuration::Configuration;

/// How often a name is resolved again.
const REFRESH: Duration = Duration::from_secs(30);
/// Look-ups at once.
const AT_ONCE: usize = 8;

/// Keeps the addresses of all names up to date, for ever. A name that cannot be resolved keeps its last addresses.
pub async fn resolve_names(configuration: Arc<Configuration>) -> Infallible {
    let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    loop {
        let names = configuration.names();
        known.retain(|name, _| names.contains(name));
        let answers = futures::stream::iter(names).map(resolve).buffer_unordered(AT_ONCE);
        let answers: Vec<_> = answers.filter_map(|answer| async { answer }).collect().await;
        let news: Vec<_> = answers.into_iter().filter(|(name, found)| known.get(name) != Some(found)).collect();
        if !news.is_empty() {
            known.extend(news.iter().cloned());
            configuration.resolved(news);
        }
        wait(&configuration, &known).await;
    }
}

/// Until there is a new name, or it is time to look again.
async fn wait(configuration: &Configuration, known: &BTreeMap<String, Vec<IpAddr>>) {
    let again = tokio::time::sleep(REFRESH);
    tokio::pin!(again);
    loop {
        tokio::select! {
            () = &mut again => return,
            () = configuration.names_changed() => {
                if configuration.names().iter().any(|name| !known.contains_key(name)) {
                    return;
                }
            }
        }
    }
}

async fn resolve(name: String) -> Option<(String, Vec<IpAddr>)> {
    let found =
        lookup_host((name.as_str(), 0)).await.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
    match found {
        Ok(mut addresses) => {
            addresses.sort_unstable();
            addresses.dedup();
            Some((name, addresses))
        }
        Err(error) => {
            tracing::debug!(name, %error, "cannot resolve an endpoint's name");
            None
        }
    }
}
