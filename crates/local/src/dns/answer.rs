//! From a query to its answer, by the zone alone.

use std::str::FromStr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::zone::{Found, Records, Zone};

/// Seconds that clients may keep an answer.
const TTL: u32 = 5;
/// What we can take in one datagram.
const PAYLOAD: u16 = 1232;
/// What a client without EDNS can take.
const PLAIN_PAYLOAD: u16 = 512;

/// What to do with a query.
#[derive(Debug)]
pub enum Decision {
    /// Send this.
    Answer(Message),
    /// The name is an alias for a foreign one: ask for its records and add them.
    Chase(Message, Query),
    /// The name is not the cluster's: ask others.
    Forward,
}

/// Decide about `query`.
#[must_use]
pub fn decide(zone: &Zone, query: &Message) -> Decision {
    if query.metadata.op_code != OpCode::Query || query.metadata.message_type != MessageType::Query {
        return Decision::Answer(failure(query, ResponseCode::NotImp));
    }
    let [question] = query.queries.as_slice() else {
        return Decision::Answer(failure(query, ResponseCode::FormErr));
    };
    if question.query_class() != DNSClass::IN {
        return Decision::Answer(failure(query, ResponseCode::Refused));
    }
    let name = plain(question.name());
    match zone.find(&name) {
        Found::Outside => Decision::Forward,
        Found::Nothing => {
            let mut answer = failure(query, ResponseCode::NXDomain);
            answer.metadata.authoritative = true;
            answer.add_authorities(authority(zone, &name));
            Decision::Answer(answer)
        }
        Found::Records(records) => known(zone, query, question, &name, &records),
    }
}

/// An empty answer to `query` with this code.
#[must_use]
pub fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.response_code = code;
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        answer.set_edns(edns);
    }
    answer
}

/// The most bytes that the asker takes in one datagram.
#[must_use]
pub fn datagram_limit(query: &Message) -> usize {
    let offered = query.edns.as_ref().map_or(PLAIN_PAYLOAD, Edns::max_payload);
    usize::from(offered.clamp(PLAIN_PAYLOAD, PAYLOAD))
}

/// A name as the zone writes it.
fn plain(name: &Name) -> String {
    let mut name = name.to_ascii().to_ascii_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    name
}

fn known(zone: &Zone, query: &Message, question: &Query, name: &str, records: &Records) -> Decision {
    let mut answer = failure(query, ResponseCode::NoError);
    answer.metadata.authoritative = true;
    let wanted = question.query_type();
    if let Some(alias) = &records.cname {
        return follow(zone, answer, question, alias);
    }
    let data = data(records, wanted);
    if data.is_empty() {
        if wanted == RecordType::SOA && zone.apex(name) == Some(name) {
            answer.add_answers(authority(zone, name));
        } else {
            answer.add_authorities(authority(zone, name));
        }
        return Decision::Answer(answer);
    }
    answer.add_answers(data.into_iter().map(|d| Record::from_rdata(question.name().clone(), TTL, d)));
    if wanted == RecordType::SRV {
        add_hosts(zone, &mut answer, records);
    }
    Decision::Answer(answer)
}

fn follow(zone: &Zone, mut answer: Message, question: &Query, alias: &str) -> Decision {
    let Some(target) = absolute(alias) else {
        answer.metadata.response_code = ResponseCode::ServFail;
        return Decision::Answer(answer);
    };
    let cname = RData::CNAME(CNAME(target.clone()));
    answer.add_answer(Record::from_rdata(question.name().clone(), TTL, cname));
    if question.query_type() == RecordType::CNAME {
        return Decision::Answer(answer);
    }
    match zone.find(alias) {
        Found::Records(found) => {
            let data = data(&found, question.query_type());
            let records = data.into_iter().map(|d| Record::from_rdata(target.clone(), TTL, d));
            answer.add_answers(records);
            Decision::Answer(answer)
        }
        Found::Nothing => Decision::Answer(answer),
        Found::Outside => Decision::Chase(answer, Query::query(target, question.query_type())),
    }
}

fn data(records: &Records, wanted: RecordType) -> Vec<RData> {
    let named = |name: &str| absolute(name);
    let any = wanted == RecordType::ANY;
    let mut data = Vec::new();
    if any || wanted == RecordType::A {
        data.extend(records.a.iter().map(|ip| RData::A(A(*ip))));
    }
    if any || wanted == RecordType::AAAA {
        data.extend(records.aaaa.iter().map(|ip| RData::AAAA(AAAA(*ip))));
    }
    if any || wanted == RecordType::SRV {
        let srv = records.srv.iter().filter_map(|srv| {
            let weight = u16::try_from(100 / records.srv.len().max(1)).unwrap_or(1);
            Some(RData::SRV(SRV::new(0, weight.max(1), srv.port, named(&srv.target)?)))
        });
        data.extend(srv);
    }
    if any || wanted == RecordType::PTR {
        data.extend(records.ptr.iter().filter_map(|n| Some(RData::PTR(PTR(named(n)?)))));
    }
    if any || wanted == RecordType::TXT {
        data.extend(records.txt.iter().map(|t| RData::TXT(TXT::new(vec![t.clone()]))));
    }
    data
}

/// The addresses of the hosts that the answer's service records name.
fn add_hosts(zone: &Zone, answer: &mut Message, records: &Records) {
    for srv in &records.srv {
        let (Some(name), Found::Records(host)) = (absolute(&srv.target), zone.find(&srv.target)) else {
            continue;
        };
        let addresses = data(&host, RecordType::A).into_iter().chain(data(&host, RecordType::AAAA));
        answer.add_additionals(addresses.map(|address| Record::from_rdata(name.clone(), TTL, address)));
    }
}

/// Who is in charge of `name`, so that clients know how long they may remember that it has nothing.
fn authority(zone: &Zone, name: &str) -> Option<Record> {
    let domain = absolute(zone.apex(name).unwrap_or(zone.domain()))?;
    let server = absolute(&format!("ns.dns.{}", zone.domain()))?;
    let mail = absolute(&format!("hostmaster.{}", zone.domain()))?;
    let soa = SOA::new(server, mail, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(domain, TTL, RData::SOA(soa)))
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_str(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn zone() -> Zone {
        let service = |name: &str, spec: serde_json::Value| {
            Arc::new(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
        };
        let services = [
            service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80}]})),
            service("alias", json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"})),
            service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
        ];
        Zone::build("cluster.local", &services, &[])
    }

    fn ask(name: &str, kind: RecordType) -> Decision {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_str(name).unwrap(), kind));
        decide(&zone(), &query)
    }

    fn answer(name: &str, kind: RecordType) -> Message {
        match ask(name, kind) {
            Decision::Answer(answer) => answer,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn an_address_is_answered_with_the_name_as_asked() {
        let answer = answer("WEB.default.svc.cluster.local.", RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
        assert_eq!(answer.answers[0].data, RData::A(A::new(10, 96, 1, 1)));
        assert!(answer.answers[0].name.eq_case(&Name::from_str("WEB.default.svc.cluster.local.").unwrap()));
    }

    #[test]
    fn no_such_type_and_no_such_name_are_told_apart() {
        let no_data = answer("web.default.svc.cluster.local.", RecordType::AAAA);
        assert_eq!(no_data.metadata.response_code, ResponseCode::NoError);
        assert!(no_data.answers.is_empty());
        assert_eq!(no_data.authorities[0].record_type(), RecordType::SOA);
        let no_name = answer("nope.default.svc.cluster.local.", RecordType::A);
        assert_eq!(no_name.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(no_name.authorities.len(), 1);
    }

    #[test]
    fn service_records_come_with_their_hosts() {
        let answer = answer("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV);
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(answer.additionals[0].data, RData::A(A::new(10, 96, 1, 1)));
    }

    #[test]
    fn aliases_are_followed_inside_and_chased_outside() {
        let inside = answer("alias.default.svc.cluster.local.", RecordType::A);
        assert_eq!(inside.answers.len(), 2);
        assert_eq!(inside.answers[1].data, RData::A(A::new(10, 96, 1, 1)));
        let Decision::Chase(start, question) = ask("out.default.svc.cluster.local.", RecordType::A) else {
            panic!("an alias of a foreign name is chased");
        };
        assert_eq!(start.answers.len(), 1);
        assert_eq!(question.name().to_ascii(), "example.org.");
    }

    #[test]
    fn foreign_names_are_forwarded() {
        assert!(matches!(ask("example.org.", RecordType::A), Decision::Forward));
    }

    #[test]
    fn what_is_no_plain_question_is_refused() {
        let empty = decide(&zone(), &Message::query());
        let Decision::Answer(answer) = empty else { panic!("{empty:?}") };
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    }
}
