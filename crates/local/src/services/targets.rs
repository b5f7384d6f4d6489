//! Who answers for a Service's port: a pure function of its EndpointSlices and its policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lateen_apiserver::Object;
use lateen_nft::L4;
use serde_json::Value;

use crate::controllers::SERVICE_NAME;
use crate::controllers::object::Meta;

/// EndpointSlices by namespace and name of their Service.
pub(crate) type ByService<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Value>>;

/// Puts slices with their Services.
pub(crate) fn by_service(slices: &[Object]) -> ByService<'_> {
    let mut groups = ByService::new();
    for slice in slices {
        if let Some(name) = slice.label(SERVICE_NAME) {
            groups.entry((slice.namespace(), name)).or_default().push(slice);
        }
    }
    groups
}

/// The node as far as the choice of endpoints depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its name.
    pub(super) node: &'a str,
    /// Its zone, "" where it has none.
    pub(super) zone: &'a str,
}

/// Where the connections to a port go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// To one of these; never empty.
    Targets(Vec<SocketAddr>),
    /// There are none: the client is refused.
    Refuse,
    /// There are some, but the policy allows none of them: nothing is said.
    Drop,
}

impl Answer {
    /// Whether anybody answers.
    pub(super) fn targets(&self) -> &[SocketAddr] {
        match self {
            Self::Targets(targets) => targets,
            Self::Refuse | Self::Drop => &[],
        }
    }
}

/// An endpoint that may be chosen.
struct Candidate<'a> {
    address: SocketAddr,
    endpoint: &'a Value,
}

/// Who answers for `port` in one address family. With `local`, only endpoints on this node do.
pub(super) fn answer(port: &Value, slices: &[&Value], v6: bool, local: bool, place: Place<'_>) -> Answer {
    let all = candidates(port, slices, v6);
    let usable = |conditions: &dyn Fn(&Value) -> bool, local: bool| -> Vec<&Candidate<'_>> {
        let fits = |c: &&Candidate<'_>| {
            conditions(&c.endpoint["conditions"]) && (!local || c.endpoint["nodeName"] == place.node)
        };
        all.iter().filter(fits).collect()
    };
    let ready = |c: &Value| c["ready"] != false;
    let ending = |c: &Value| c["ready"] == false && c["serving"] == true && c["terminating"] == true;
    // Where none is ready, those serve that still can while they end.
    let choose = |local: bool| {
        let chosen = usable(&ready, local);
        if chosen.is_empty() {
            usable(&ending, local)
        } else if local {
            chosen
        } else {
            near(chosen, place)
        }
    };
    let chosen: BTreeSet<SocketAddr> = choose(local).iter().map(|c| c.address).collect();
    match (chosen.is_empty(), local) {
        (false, _) => Answer::Targets(chosen.into_iter().collect()),
        (true, true) if !choose(false).is_empty() => Answer::Drop,
        (true, _) => Answer::Refuse,
    }
}

/// The endpoints meant for this place, where all of them say for which place they are meant
/// (`trafficDistribution`); else all.
fn near<'a, 'b>(all: Vec<&'a Candidate<'b>>, place: Place<'_>) -> Vec<&'a Candidate<'b>> {
    for (hints, own) in [("/hints/forNodes", place.node), ("/hints/forZones", place.zone)] {
        let hinted = |c: &&&Candidate<'_>| c.endpoint.items(hints).iter().any(|hint| hint["name"] == own);
        if all.iter().any(|c| c.endpoint.items(hints).is_empty()) {
            continue;
        }
        let meant: Vec<_> = all.iter().filter(hinted).copied().collect();
        if !meant.is_empty() {
            return meant;
        }
    }
    all
}

fn candidates<'a>(port: &Value, slices: &[&'a Value], v6: bool) -> Vec<Candidate<'a>> {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let mut all = Vec::new();
    for slice in slices.iter().filter(|slice| slice["addressType"] == family) {
        let Some(number) = slice_port(port, slice) else { continue };
        for endpoint in slice.items("/endpoints") {
            // More than one address of an endpoint has no meaning: the first is the endpoint's.
            let address = endpoint.items("/addresses").first().and_then(Value::as_str);
            let ip = address.and_then(|ip| ip.parse::<IpAddr>().ok()).filter(|ip| ip.is_ipv6() == v6);
            all.extend(ip.map(|ip| Candidate { address: SocketAddr::new(ip, number), endpoint }));
        }
    }
    all
}

/// The protocol of a port, if it is one that is served.
pub(super) fn l4(port: &Value) -> Option<L4> {
    match port.text("/protocol") {
        "" | "TCP" => Some(L4::Tcp),
        "UDP" => Some(L4::Udp),
        _ => None,
    }
}

/// A port number; 0 is none.
pub(super) fn port_number(port: &Value, field: &str) -> Option<u16> {
    port[field].as_u64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0)
}

fn slice_port(port: &Value, slice: &Value) -> Option<u16> {
    let wanted = (port.text("/name"), l4(port));
    let found = slice.items("/ports").iter().find(|p| (p.text("/name"), l4(p)) == wanted)?;
    port_number(found, "port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLACE: Place<'static> = Place { node: "lateen", zone: "local" };

    fn slice(endpoints: Value) -> Value {
        json!({"addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints})
    }

    fn ips(endpoints: Value, local: bool) -> Result<Vec<String>, Answer> {
        match answer(&json!({"port": 80}), &[&slice(endpoints)], false, local, PLACE) {
            Answer::Targets(targets) => Ok(targets.iter().map(|t| t.ip().to_string()).collect()),
            none => Err(none),
        }
    }

    fn endpoint(ip: &str, ready: bool, ending: bool, more: Value) -> Value {
        let mut endpoint = json!({"addresses": [ip],
            "conditions": {"ready": ready, "serving": ready || ending, "terminating": ending}});
        for (key, value) in more.as_object().into_iter().flatten() {
            endpoint[key] = value.clone();
        }
        endpoint
    }

    #[test]
    fn ready_endpoints_answer_then_those_that_end() {
        let (ready, ending) =
            (endpoint("10.0.0.1", true, false, json!({})), endpoint("10.0.0.2", false, true, json!({})));
        let unready = endpoint("10.0.0.3", false, false, json!({}));
        assert_eq!(ips(json!([ready, ending, unready]), false).unwrap(), ["10.0.0.1"]);
        assert_eq!(ips(json!([ending, unready]), false).unwrap(), ["10.0.0.2"]);
        assert_eq!(ips(json!([unready]), false), Err(Answer::Refuse));
        let unsaid = json!([{"addresses": ["10.0.0.4"]}]);
        assert_eq!(ips(unsaid, false).unwrap(), ["10.0.0.4"], "an endpoint without conditions counts as ready");
    }

    #[test]
    fn a_local_policy_takes_only_endpoints_of_this_node() {
        let here = endpoint("10.0.0.1", true, false, json!({"nodeName": "lateen"}));
        let there = endpoint("10.0.0.2", true, false, json!({"nodeName": "other"}));
        assert_eq!(ips(json!([here, there]), true).unwrap(), ["10.0.0.1"]);
        assert_eq!(ips(json!([there]), true), Err(Answer::Drop));
        assert_eq!(ips(json!([]), true), Err(Answer::Refuse));
    }

    #[test]
    fn hints_hold_when_every_endpoint_has_them_and_one_is_meant_for_us() {
        let zone = |ip: &str, zone: &str| endpoint(ip, true, false, json!({"hints": {"forZones": [{"name": zone}]}}));
        let plain = endpoint("10.0.0.3", true, false, json!({}));
        assert_eq!(ips(json!([zone("10.0.0.1", "local"), zone("10.0.0.2", "b")]), false).unwrap(), ["10.0.0.1"]);
        assert_eq!(ips(json!([zone("10.0.0.1", "a"), zone("10.0.0.2", "b")]), false).unwrap().len(), 2);
        assert_eq!(ips(json!([zone("10.0.0.1", "local"), plain]), false).unwrap().len(), 2);
        let node = |ip: &str, node: &str| endpoint(ip, true, false, json!({"hints": {"forNodes": [{"name": node}]}}));
        assert_eq!(ips(json!([node("10.0.0.1", "other"), node("10.0.0.2", "lateen")]), false).unwrap(), ["10.0.0.2"]);
    }
}
