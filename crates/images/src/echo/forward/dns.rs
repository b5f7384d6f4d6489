//! DNS calls: `dns://NAME?protocol=udp|tcp&server=ADDRESS` asks for a name's addresses, as a resolver would.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::plan::Plan;
use crate::{echo::lines::Lines, http_text::pairs};

/// How long a server has to answer, and how often it is asked, as resolvers have it.
const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;

/// What `/etc/resolv.conf` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resolver {
    server: Option<IpAddr>,
    search: Vec<String>,
    ndots: usize,
}

pub(super) async fn call(plan: &Plan, id: usize, lines: &mut Lines) -> Result<(), String> {
    let query = pairs(plan.url.query().unwrap_or_default());
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let tcp = match parameter("protocol") {
        None | Some("" | "udp") => false,
        Some("tcp") => true,
        Some(other) => return Err(format!("protocol={other}: write udp or tcp")),
    };
    let resolver = resolver(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let server = match parameter("server") {
        None | Some("") => SocketAddr::new(resolver.server.unwrap_or(IpAddr::from([127, 0, 0, 1])), 53),
        Some(text) => server(text).ok_or_else(|| format!("server={text}: write ADDRESS or ADDRESS:PORT"))?,
    };
    let found = lookup(&plan.host, &resolver, server, tcp).await?;
    lines.field("Protocol", if tcp { "tcp" } else { "udp" });
    lines.field("Query", &plan.host);
    lines.field("DnsServer", server);
    let answers: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.body(id, &answers.join("\n"));
    Ok(())
}

fn server(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53)))
}

fn resolver(text: &str) -> Resolver {
    let mut resolver = Resolver { ndots: 1, ..Resolver::default() };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if resolver.server.is_none() => {
                resolver.server = words.next().and_then(|word| word.parse().ok());
            }
            Some("search") => resolver.search = words.map(str::to_owned).collect(),
            Some("options") => {
                let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                resolver.ndots = ndots.unwrap_or(resolver.ndots);
            }
            _ => {}
        }
    }
    resolver
}

/// The addresses of the first of the names to try that has some.
async fn lookup(host: &str, resolver: &Resolver, server: SocketAddr, tcp: bool) -> Result<BTreeSet<IpAddr>, String> {
    for name in names(host, resolver) {
        let mut found = BTreeSet::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            found.extend(ask(&name, kind, server, tcp).await.map_err(|error| format!("lookup {host}: {error}"))?);
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(format!("lookup {host}: no such host"))
}

fn names(host: &str, resolver: &Resolver) -> Vec<String> {
    let full = format!("{}.", host.trim_end_matches('.'));
    if host.ends_with('.') {
        return vec![full];
    }
    let mut names: Vec<String> = resolver.search.iter().map(|domain| format!("{full}{domain}.")).collect();
    let first = host.matches('.').count() >= resolver.ndots;
    names.insert(if first { 0 } else { names.len() }, full);
    names
}

async fn ask(name: &str, kind: RecordType, server: SocketAddr, tcp: bool) -> Result<Vec<IpAddr>, String> {
    let name: Name = name.parse().map_err(|error| format!("{name:?}: {error}"))?;
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let bytes = message.to_vec().map_err(|error| error.to_string())?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let answered = tokio::time::timeout(PATIENCE, exchange(&bytes, server, tcp)).await;
        match answered.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(answer) => return addresses(&answer, message.metadata.id),
            Err(error) => last = format!("{server}: {error}"),
        }
    }
    Err(last)
}

async fn exchange(query: &[u8], server: SocketAddr, tcp: bool) -> std::io::Result<Vec<u8>> {
    if tcp {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
        stream.write_all(&[&length, query].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        return Ok(answer);
    }
    let local: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; 4096];
    let count = socket.recv(&mut answer).await?;
    answer.truncate(count);
    Ok(answer)
}

fn addresses(answer: &[u8], id: u16) -> Result<Vec<IpAddr>, String> {
    let message = Message::from_vec(answer).map_err(|error| format!("malformed answer: {error}"))?;
    if message.metadata.id != id {
        return Err("the answer is to another question".into());
    }
    match message.metadata.response_code {
        ResponseCode::NoError => Ok(message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect()),
        ResponseCode::NXDomain => Ok(Vec::new()),
        other => Err(format!("the server answers {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_in_the_order_of_resolv_conf() {
        let text = "nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let resolver = resolver(text);
        assert_eq!(resolver.server, Some(IpAddr::from([10, 96, 0, 10])));
        assert_eq!(names("a", &resolver), ["a.ns.svc.cluster.local.", "a.svc.cluster.local.", "a."]);
        assert_eq!(names("a.", &resolver), ["a."]);
        assert_eq!(names("a.b.c.d.e.f", &resolver)[0], "a.b.c.d.e.f.");
    }
}
