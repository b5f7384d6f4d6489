//! URLs, as curl reads them: a missing scheme is `http`, dot segments are removed.

use super::failure::Failure;

/// A URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub tls: bool,
    /// User information before the `@`.
    pub user: Option<String>,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, as sent.
    pub target: String,
}

impl Url {
    pub fn parse(text: &str, path_as_is: bool) -> Result<Url, Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Failure::Url("Malformed input to a URL function".into()));
        }
        if text.contains(|letter: char| letter.is_ascii_control() || letter == ' ') {
            return Err(Failure::Url("Malformed input to a URL function".into()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(Failure::Protocol(other.to_owned())),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        if host.is_empty() {
            return Err(Failure::Url("No host part in the URL".into()));
        }
        Ok(Url {
            tls,
            user,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            target: target_of(target, path_as_is),
        })
    }

    /// The URL that a `Location` header means.
    pub fn join(&self, location: &str) -> Result<Url, Failure> {
        if location.contains("://") {
            return Url::parse(location, false);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme()), false);
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let target = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            _ => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Ok(Url { target: target_of(target.split('#').next().unwrap_or("/"), false), ..self.clone() })
    }

    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The last part of the path, where that can be a file name.
    pub fn file_name(&self) -> Option<&str> {
        let path = self.target.split('?').next().unwrap_or_default();
        path.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), Failure> {
    let bad = |_| Failure::Url("Port number was not a decimal number between 0 and 65535".into());
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| Failure::Url("Bad IPv6 address".into()))?;
            (host, after.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.filter(|port| !port.is_empty()).map(|port| port.parse::<u16>().map_err(bad)).transpose()?;
    Ok((host, port))
}

fn target_of(target: &str, path_as_is: bool) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path_as_is { path.to_owned() } else { without_dots(path) };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// Removes `.` and `..` segments (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    let last = segments.len() - 1;
    for (index, segment) in segments.iter().enumerate() {
        match *segment {
            "." | ".." => {
                if *segment == ".." && kept.len() > 1 {
                    kept.pop();
                }
                if index == last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    kept.join("/")
}
