//! URLs, addresses, networks.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::{super::value::Key, Outcome, Value, failed};

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As it was written.
    pub text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Absolute, or a path that begins with a slash.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_control()) {
            return None;
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if scheme.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if !is_user(user)
            || !is_host(host)
            || !is_escaped(path)
            || !(path.is_empty() || path.starts_with('/') || !scheme.is_empty())
        {
            return None;
        }
        // What follows a scheme without slashes is not a path.
        let path = if path.starts_with('/') { path } else { "" };
        Some(Self {
            text: text.to_owned(),
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: escape(path),
            query: query.to_owned(),
        })
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit_once(']').map_or(self.host.as_str(), |(_, after)| after);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    fn hostname(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split_once(']').map_or(inner, |(host, _)| host);
        }
        self.host.split_once(':').map_or(&self.host, |(host, _)| host)
    }

    fn query(&self) -> Value {
        let mut map: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.entry(Key::Text(unescaped(key).into())).or_default().push(unescaped(value).into());
        }
        Value::Map(Arc::new(map.into_iter().map(|(key, values)| (key, values.into())).collect()))
    }
}

/// The scheme (maybe none) and what follows it; nothing where a colon comes first.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at > 0 => return Some((&text[..at], &text[at + 1..])),
            ':' => return None,
            _ => break,
        }
    }
    Some(("", text))
}

fn is_user(text: &str) -> bool {
    is_escaped(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((name, rest)) if name.parse::<Ipv6Addr>().is_ok() => ("", rest),
            _ => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    let forbidden = |c: char| c.is_whitespace() || "\"<>^`{|}\\#[]".contains(c);
    port_is_fine && !name.contains(forbidden) && is_escaped(name)
}

/// Whether every `%` has two digits.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)))
}

fn escape(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn unescaped(text: &str) -> String {
    crate::http_front::percent_decode(text, true).unwrap_or_else(|| text.to_owned())
}

fn ip(text: &str) -> Option<IpAddr> {
    match text.parse().ok()? {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        other => Some(other),
    }
}

fn cidr(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok()?;
    match net.addr() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        _ => Some(net),
    }
}

/// `url`, `isURL`, `ip`, `isIP`, `cidr`, `isCIDR`.
pub fn call(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let [Value::Text(text)] = arguments else { return None };
    let bad = |what: &str| failed(format!("{what} parse error during conversion from string: {text:?}"));
    Some(match name {
        "url" => match Url::parse(text) {
            Some(url) => Ok(Value::Url(Arc::new(url))),
            None => failed(format!(
                "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
            )),
        },
        "isURL" => Ok(Url::parse(text).is_some().into()),
        "ip" => ip(text).map_or_else(|| bad("IP Address"), |ip| Ok(Value::Ip(ip))),
        "isIP" => Ok(ip(text).is_some().into()),
        "ip.isCanonical" => ip(text).map_or_else(|| bad("IP Address"), |ip| Ok((ip.to_string() == **text).into())),
        "cidr" => cidr(text).map_or_else(|| bad("network address"), |net| Ok(Value::Cidr(net))),
        "isCIDR" => Ok(cidr(text).is_some().into()),
        _ => return None,
    })
}

/// Methods of URLs, addresses and networks.
pub fn method(target: &Value, name: &str, arguments: &[Value]) -> Option<Outcome> {
    match target {
        Value::Url(url) if arguments.is_empty() => of_url(url, name).map(Ok),
        Value::Ip(ip) if arguments.is_empty() => of_ip(*ip, name).map(Ok),
        Value::Cidr(net) => of_cidr(*net, name, arguments),
        _ => None,
    }
}

fn of_url(url: &Url, name: &str) -> Option<Value> {
    Some(match name {
        "getScheme" => url.scheme.as_str().into(),
        "getHost" => url.host.as_str().into(),
        "getHostname" => url.hostname().into(),
        "getPort" => url.port().into(),
        "getEscapedPath" => url.path.as_str().into(),
        "getQuery" => url.query(),
        _ => return None,
    })
}

fn of_ip(ip: IpAddr, name: &str) -> Option<Value> {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Some(match name {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => ip.is_unspecified().into(),
        "isLoopback" => ip.is_loopback().into(),
        "isLinkLocalUnicast" => link_local.into(),
        "isLinkLocalMulticast" => link_multicast.into(),
        "isGlobalUnicast" => {
            (!ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !link_local && !broadcast).into()
        }
        _ => return None,
    })
}

fn of_cidr(net: IpNet, name: &str, arguments: &[Value]) -> Option<Outcome> {
    let other_ip = |value: &Value| match value {
        Value::Ip(ip) => Some(*ip),
        Value::Text(text) => ip(text),
        _ => None,
    };
    let other_net = |value: &Value| match value {
        Value::Cidr(net) => Some(*net),
        Value::Text(text) => cidr(text),
        _ => None,
    };
    Some(match (name, arguments) {
        ("ip", []) => Ok(Value::Ip(net.addr())),
        ("masked", []) => Ok(Value::Cidr(net.trunc())),
        ("prefixLength", []) => Ok(Value::Int(net.prefix_len().into())),
        ("containsIP", [value]) => {
            other_ip(value).map_or_else(|| failed("IP Address parse error"), |ip| Ok(net.contains(&ip).into()))
        }
        ("containsCIDR", [value]) => {
            other_net(value).map_or_else(|| failed("network address parse error"), |o| Ok(net.contains(&o).into()))
        }
        _ => return None,
    })
}
