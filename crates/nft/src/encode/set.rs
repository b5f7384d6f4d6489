//! Sets and maps within a rule: choices among destinations, and the addresses of clients.

use std::net::SocketAddr;

use crate::apply::Error;
use crate::expr::{Dir, Op, Spread, Verdict};

use super::message::Attrs;
use super::number::*;
use super::rule::{Program, address_bytes, address_place};
use super::ruleset;

const ANONYMOUS: &str = "__set%d";

/// What an element of an anonymous set stands for.
pub(super) enum Data {
    None,
    Bytes(Vec<u8>),
    Verdict(Verdict),
}

impl Data {
    fn put(&self, a: &mut Attrs<'_>) {
        match self {
            Data::None => {}
            Data::Bytes(value) => a.nest(attr::ELEM_DATA, |a| a.bytes(attr::DATA_VALUE, value)),
            Data::Verdict(verdict) => a.nest(attr::ELEM_DATA, |a| ruleset::verdict(a, verdict)),
        }
    }
}

impl Program<'_> {
    /// Sends the connection to one of `targets`.
    pub(super) fn dnat_spread(&mut self, spread: Spread, targets: &[SocketAddr]) -> Result<(), Error> {
        let Some(v6) = targets.first().map(SocketAddr::is_ipv6) else {
            return Err(Error::NoTarget);
        };
        if targets.iter().any(|t| t.is_ipv6() != v6) {
            return Err(Error::MixedTargets);
        }
        self.need_family(v6);
        let address = if v6 { data_type::IPV6_ADDR } else { data_type::IPV4_ADDR };
        let words = if v6 { 4 } else { 1 };
        let kind = ((address << data_type::CONCAT_BITS) | data_type::INET_SERVICE, words * 4 + 4);
        let values = targets.iter().map(|to| {
            let mut value = address_bytes(to.ip());
            value.extend_from_slice(&to.port().to_be_bytes());
            value.extend_from_slice(&[0, 0]);
            Data::Bytes(value)
        });
        self.choose(spread, kind, values.collect(), reg::WORD0 + 1);
        self.nat(NAT_DNAT, v6, reg::WORD0 + 1, Some(reg::WORD0 + 1 + words));
        Ok(())
    }

    /// Goes on in one of `chains`.
    pub(super) fn goto_spread(&mut self, spread: Spread, chains: &[String]) -> Result<(), Error> {
        if chains.is_empty() {
            return Err(Error::NoTarget);
        }
        let verdicts = chains.iter().map(|chain| Data::Verdict(Verdict::Goto(chain.clone())));
        self.choose(spread, (DATA_TYPE_VERDICT, 0), verdicts.collect(), reg::VERDICT);
        Ok(())
    }

    /// One of `values` into a register.
    fn choose(&mut self, spread: Spread, kind: (u32, u32), values: Vec<Data>, into: u32) {
        let modulus = values.len() as u32;
        let numbered = values.into_iter().enumerate();
        let entries = numbered.map(|(i, value)| ((i as u32).to_ne_bytes().to_vec(), value)).collect();
        let id = self.anonymous_set((data_type::INTEGER, 4), Some(kind), entries);
        self.op("numgen", |a| {
            a.be32(1, reg::WORD0);
            a.be32(2, modulus);
            a.be32(3, u32::from(spread == Spread::Random));
        });
        self.lookup(id, reg::WORD0, Some(into), Op::Eq);
    }

    pub(super) fn source_in_set(&mut self, set: &str, v6: bool) {
        self.source(v6);
        self.op("lookup", |a| {
            a.text(1, set);
            a.be32(2, reg::R1);
        });
    }

    pub(super) fn remember_source(&mut self, set: &str, v6: bool) {
        self.source(v6);
        self.op("dynset", |a| {
            a.text(1, set);
            a.be32(3, DYNSET_UPDATE);
            a.be32(4, reg::R1);
        });
    }

    /// The source address into register 1.
    fn source(&mut self, v6: bool) {
        self.need_family(v6);
        let (offset, len) = address_place(Dir::Src, v6);
        self.payload(reg::R1, PAYLOAD_NETWORK, offset, len);
    }

    pub(super) fn lookup(&mut self, id: u32, from: u32, into: Option<u32>, op: Op) {
        self.op("lookup", |a| {
            a.text(1, ANONYMOUS);
            a.be32(2, from);
            if let Some(into) = into {
                a.be32(3, into);
            }
            a.be32(4, id);
            if op == Op::Ne {
                a.be32(5, 1);
            }
        });
    }

    /// Adds a set with keys of this type and length, or a map when `data` names those of its values; returns its
    /// identifier.
    pub(super) fn anonymous_set(
        &mut self,
        key: (u32, u32),
        data: Option<(u32, u32)>,
        entries: Vec<(Vec<u8>, Data)>,
    ) -> u32 {
        let id = self.batch.set_id();
        let (table, family) = (self.table, self.table.family.number());
        self.batch.push(self.part, msg::NEW_SET, NLM_F_CREATE | NLM_F_EXCL, family, |a| {
            a.text(attr::SET_TABLE, &table.name);
            a.text(attr::SET_NAME, ANONYMOUS);
            let map = if data.is_some() { SET_F_MAP } else { 0 };
            a.be32(attr::SET_FLAGS, SET_F_ANONYMOUS | SET_F_CONSTANT | map);
            a.be32(attr::SET_KEY_TYPE, key.0);
            a.be32(attr::SET_KEY_LEN, key.1);
            if let Some((kind, len)) = data {
                a.be32(attr::SET_DATA_TYPE, kind);
                a.be32(attr::SET_DATA_LEN, len);
            }
            a.be32(attr::SET_ID, id);
        });
        for chunk in entries.chunks(ruleset::ELEMENTS_PER_MESSAGE) {
            self.batch.push(self.part, msg::NEW_SET_ELEM, NLM_F_CREATE, family, |a| {
                a.text(attr::ELEMS_TABLE, &table.name);
                a.text(attr::ELEMS_SET, ANONYMOUS);
                a.be32(attr::ELEMS_SET_ID, id);
                a.nest(attr::ELEMS_LIST, |a| {
                    for (key, value) in chunk {
                        a.nest(attr::LIST_ELEM, |a| {
                            a.nest(attr::ELEM_KEY, |a| a.bytes(attr::DATA_VALUE, key));
                            value.put(a);
                        });
                    }
                });
            });
        }
        id
    }
}
