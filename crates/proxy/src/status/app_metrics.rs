//! The application's own metrics.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{self, HeaderMap};

use crate::config::AppMetrics;
use crate::local_http::{self, ClientError};

/// Largest set of metrics taken from the application.
const MAX_METRICS: usize = 32 << 20;
/// Longest wait, where Prometheus does not say how long it waits.
const TIMEOUT: Duration = Duration::from_secs(10);
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// What the application answered.
pub struct Scraped {
    /// The form of its metrics.
    pub content_type: String,
    body: Vec<u8>,
}

impl Scraped {
    /// The proxy's metrics followed by the application's. OpenMetrics ends with `# EOF`, so the application's come
    /// last.
    pub fn after(&self, own: String) -> Vec<u8> {
        let mut all = own.into_bytes();
        if !all.ends_with(b"\n") && !all.is_empty() {
            all.push(b'\n');
        }
        all.extend_from_slice(&self.body);
        all
    }
}

/// Why the application's metrics are missing.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Another answer.
    #[error("{0} answered {1} for its metrics; check the prometheus.io/port and prometheus.io/path annotations")]
    Status(SocketAddr, http::StatusCode),
}

/// Asks the application, passing on what the asker accepts.
pub async fn scrape(
    app: IpAddr,
    mark: Option<u32>,
    metrics: &AppMetrics,
    asked: &HeaderMap,
) -> Result<Scraped, ScrapeError> {
    let mut headers = HeaderMap::new();
    for name in [header::ACCEPT.as_str(), header::USER_AGENT.as_str(), SCRAPE_TIMEOUT] {
        if let Some(value) = asked.get(name)
            && let Ok(name) = header::HeaderName::try_from(name)
        {
            headers.insert(name, value.clone());
        }
    }
    let limit = asked.get(SCRAPE_TIMEOUT).and_then(|v| v.to_str().ok()?.parse::<f64>().ok());
    let limit = limit.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(TIMEOUT).min(TIMEOUT);
    let to = SocketAddr::new(app, metrics.port);
    let answer = local_http::get(to, mark, &metrics.path, headers, MAX_METRICS, limit).await?;
    if !answer.status.is_success() {
        return Err(ScrapeError::Status(to, answer.status));
    }
    let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let open_metrics = content_type.is_some_and(|t| t.starts_with("application/openmetrics-text"));
    let form = if open_metrics { content_type } else { None };
    Ok(Scraped { content_type: form.unwrap_or(super::PROMETHEUS).to_owned(), body: answer.body.to_vec() })
}
