//! DNS messages: what is asked, and answers from the table.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::table::{Found, LookupTable};

/// Seconds for which an answer may be kept.
const TTL: u32 = 30;
/// Largest UDP answer for a client that doesn't say what it takes.
const PLAIN_UDP: usize = 512;
/// Largest UDP answer at all.
const MAX_UDP: usize = 4096;

/// What to do with a query.
pub(super) enum Reaction {
    /// Answer it so.
    Answer(Vec<u8>),
    /// Another server has to.
    Forward,
    /// It is no DNS query: say nothing.
    Ignore,
}

/// Decides about a query; `shuffle` orders the addresses.
pub(super) fn react(query: &[u8], table: &LookupTable, udp: bool, shuffle: impl FnOnce(&mut [IpAddr])) -> Reaction {
    let Ok(message) = Message::from_vec(query) else { return Reaction::Ignore };
    if message.metadata.message_type != MessageType::Query {
        return Reaction::Ignore;
    }
    let [question] = message.queries.as_slice() else { return error(&message, ResponseCode::FormErr) };
    if message.metadata.op_code != OpCode::Query || question.query_class() != DNSClass::IN {
        return Reaction::Forward;
    }
    let v6 = match question.query_type() {
        RecordType::A => false,
        RecordType::AAAA => true,
        _ => return Reaction::Forward,
    };
    let addresses = match table.find(&question.name().to_ascii()) {
        Found::Unknown => return Reaction::Forward,
        Found::Nothing => &[],
        Found::Addresses(addresses) => addresses,
    };
    let mut chosen: Vec<IpAddr> = addresses.iter().copied().filter(|ip| ip.is_ipv6() == v6).collect();
    shuffle(&mut chosen);
    let mut response = response(&message, ResponseCode::NoError);
    response.metadata.authoritative = true;
    for address in chosen {
        let data = match address {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        response.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
    }
    encode(&response, udp.then(|| udp_room(&message)))
}

fn udp_room(message: &Message) -> usize {
    message.edns.as_ref().map_or(PLAIN_UDP, |edns| usize::from(edns.max_payload()).clamp(PLAIN_UDP, MAX_UDP))
}

fn response(query: &Message, code: ResponseCode) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(MAX_UDP as u16);
        response.set_edns(edns);
    }
    response
}

fn encode(response: &Message, room: Option<usize>) -> Reaction {
    let Ok(bytes) = response.to_vec() else { return Reaction::Ignore };
    match room {
        // The client comes back over TCP.
        Some(room) if bytes.len() > room => response.truncate().to_vec().map_or(Reaction::Ignore, Reaction::Answer),
        _ => Reaction::Answer(bytes),
    }
}

fn error(query: &Message, code: ResponseCode) -> Reaction {
    encode(&response(query, code), None)
}

/// The answer when no other server answered.
pub(super) fn server_failure(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(query).ok()?;
    match error(&message, ResponseCode::ServFail) {
        Reaction::Answer(bytes) => Some(bytes),
        _ => None,
    }
}

/// Whether `answer` (whose id was checked) belongs to the question in `query`.
pub(super) fn answers(query: &[u8], answer: &[u8]) -> bool {
    let (Ok(query), Ok(answer)) = (Message::from_vec(query), Message::from_vec(answer)) else { return false };
    // A server that refuses to read the query may leave the question out.
    answer.metadata.message_type == MessageType::Response
        && (answer.queries.is_empty() || answer.queries == query.queries)
}
