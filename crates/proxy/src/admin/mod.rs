//! Administration on port 15000, loopback only: what the proxy has loaded, what it counts, and a few levers.

mod certs;
mod clusters;
mod dump;
mod info;
mod stats;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::certs::CertStore;
use crate::config::Config;
use crate::local_http::{self, Handler, Reached, Reply, json, post_only, text, typed};
use crate::logging::LogLevel;
use crate::readiness::Readiness;
use crate::state::State;
use crate::status::Requests;
use crate::telemetry::Telemetry;
use crate::xds_client::Configuration;

/// What the server shows and moves.
#[derive(Clone)]
pub struct AdminParts {
    /// How the process was configured.
    pub config: Arc<Config>,
    /// What was received.
    pub configuration: Arc<Configuration>,
    /// What is in force.
    pub state: Arc<State>,
    /// Certificates.
    pub certs: Arc<CertStore>,
    /// Figures.
    pub telemetry: Arc<Telemetry>,
    /// Readiness.
    pub readiness: Arc<Readiness>,
    /// What others are asked to do.
    pub requests: Arc<Requests>,
    /// The log.
    pub log: LogLevel,
}

/// The server on port 15000.
pub struct AdminServer(pub AdminParts);

const HELP: &str = "\
/callers: who has called this workload, and for what
/certs: certificates in use
/clusters: clusters with their endpoints (format=json)
/config_dump: configuration as loaded (resource=<field>, name_regex=<regex>)
/drain_listeners (POST): take no new connections
/help: this
/listeners: listeners (format=json)
/logging (POST): show or change the log level (level=debug, paths=lateen_proxy::dns:debug)
/quitquitquit (POST): end the process
/ready: whether traffic may be sent
/server_info: version and settings
/stats: figures (filter=<regex>, format=prometheus)
/stats/prometheus: figures for Prometheus
";

impl Handler for AdminServer {
    async fn handle(&self, request: Request<Bytes>, _reached: Reached) -> Reply {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let parts = &self.0;
        let post = request.method() == Method::POST;
        match request.uri().path() {
            "/" | "/help" => text(StatusCode::OK, HELP),
            "/ready" => self.ready(),
            "/server_info" => json(&info::server_info(parts)),
            "/callers" => json(&parts.telemetry.callers(SystemTime::now())),
            "/certs" => json(&certs::certs(&parts.certs)),
            "/config_dump" => self.config_dump(&query),
            "/clusters" => clusters::clusters(&parts.state.tables(), query.is_json()),
            "/listeners" => clusters::listeners(&parts.state.tables(), query.is_json()),
            "/stats" => self.stats(&query),
            "/stats/prometheus" => typed(StatusCode::OK, "text/plain; version=0.0.4", parts.telemetry.text()),
            "/logging" if post => self.logging(&query),
            "/quitquitquit" if post => self.act(&parts.requests.exit),
            "/drain_listeners" if post => self.act(&parts.requests.drain),
            "/logging" | "/quitquitquit" | "/drain_listeners" => post_only(),
            path => local_http::not_found(path, "/help"),
        }
    }
}

impl AdminServer {
    fn ready(&self) -> Reply {
        match self.0.readiness.check() {
            Ok(()) => text(StatusCode::OK, "LIVE\n"),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
        }
    }

    fn act(&self, action: &tokio::sync::Notify) -> Reply {
        action.notify_one();
        text(StatusCode::OK, "OK\n")
    }

    fn stats(&self, query: &Query) -> Reply {
        if query.get("format") == Some("prometheus") {
            return typed(StatusCode::OK, "text/plain; version=0.0.4", self.0.telemetry.text());
        }
        stats::stats(&self.0.telemetry.text(), query.get("filter"))
    }

    fn config_dump(&self, query: &Query) -> Reply {
        let name = match query.get("name_regex").map(stats::compile).transpose() {
            Ok(name) => name,
            Err(problem) => return text(StatusCode::BAD_REQUEST, format!("name_regex: {problem}\n")),
        };
        json(&dump::config_dump(&self.0, &dump::Wanted { resource: query.get("resource"), name }))
    }

    fn logging(&self, query: &Query) -> Reply {
        let by_part = query.get("paths").map(|paths| paths.replace(':', "=").replace("==", "::"));
        let wanted = match (query.get("level"), by_part) {
            (Some(level), _) => Some(if level == "warning" { "warn".to_owned() } else { level.to_owned() }),
            (None, Some(paths)) => Some(format!("{},{paths}", self.0.log.current())),
            (None, None) => None,
        };
        match wanted.map(|level| self.0.log.set(&level)) {
            Some(Err(error)) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            _ => text(StatusCode::OK, format!("active level: {}\n", self.0.log.current())),
        }
    }
}

/// The part of a URL after the question mark.
struct Query(HashMap<String, String>);

impl Query {
    fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Query(pairs.map(|(key, value)| (decoded(key), decoded(value))).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn is_json(&self) -> bool {
        self.get("format") == Some("json")
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("format=json&filter=a%7Cb+c&x");
        assert_eq!((query.get("filter"), query.get("x"), query.is_json()), (Some("a|b c"), Some(""), true));
    }
}
