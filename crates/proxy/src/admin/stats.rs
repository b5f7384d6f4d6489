//! `/stats`: the figures as `name: value`.

use http::StatusCode;

use crate::local_http::{self, Reply};

/// Longest filter.
const MAX_FILTER: usize = 1024;

/// From Prometheus' text; `filter` is a regular expression on names.
pub(super) fn stats(prometheus: &str, filter: Option<&str>) -> Reply {
    let filter = match filter.map(compile).transpose() {
        Ok(filter) => filter,
        Err(problem) => return local_http::text(StatusCode::BAD_REQUEST, format!("filter: {problem}\n")),
    };
    let mut out = String::with_capacity(prometheus.len());
    for line in prometheus.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        if filter.as_ref().is_none_or(|filter| filter.is_match(name)) {
            out.extend([name, ": ", value, "\n"]);
        }
    }
    local_http::text(StatusCode::OK, out)
}

/// Compiles a regular expression that somebody typed.
pub(super) fn compile(text: &str) -> Result<regex_automata::meta::Regex, String> {
    if text.len() > MAX_FILTER {
        return Err("it is too long".to_owned());
    }
    regex_automata::meta::Regex::new(text).map_err(|error| error.to_string())
}
