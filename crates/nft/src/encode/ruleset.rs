//! Tables, chains, named maps and sets as messages.

use std::collections::{HashMap, HashSet};

use crate::apply::Error;
use crate::expr::Verdict;
use crate::table::{Chain, Family, MapKey, Policy, Ruleset, SourceSet, Table, VerdictMap};

use super::message::{Attrs, Batch, Part};
use super::number::*;
use super::rule;

/// How a table relates to what is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Replace the table whether or not it is there.
    Replace,
    /// Create a table that goes away with our socket; it is not there yet.
    CreateOwned,
    /// Replace a table that our socket owns.
    ReplaceOwned,
}

/// The batch that replaces the content of all tables of `ruleset`.
pub(crate) fn replace(ruleset: &Ruleset, mode: Mode) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    for (i, table) in ruleset.tables.iter().enumerate() {
        put_table(&mut batch, i, table, mode)?;
    }
    Ok(batch)
}

/// The batch that makes `new` of `old` and keeps the content of sets that both have.
pub(crate) fn update(old: &Ruleset, new: &Ruleset) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    for (i, table) in new.tables.iter().enumerate() {
        let same = |t: &&Table| t.family == table.family && t.name == table.name;
        match old.tables.iter().find(same) {
            Some(before) => change_table(&mut batch, i, before, table)?,
            None => put_table(&mut batch, i, table, Mode::Replace)?,
        }
    }
    for gone in &old.tables {
        if !new.tables.iter().any(|t| t.family == gone.family && t.name == gone.name) {
            drop_table(&mut batch, 0, gone.family, &gone.name);
        }
    }
    Ok(batch)
}

/// The batch that removes a table.
pub(crate) fn delete_table(family: Family, name: &str) -> Batch {
    let mut batch = Batch::new();
    drop_table(&mut batch, 0, family, name);
    batch
}

fn new_table(batch: &mut Batch, index: usize, table: &Table, flags: u32) {
    batch.push(Part::Table(index), msg::NEW_TABLE, NLM_F_CREATE, table.family.number(), |a| {
        a.text(attr::TABLE_NAME, &table.name);
        a.be32(attr::TABLE_FLAGS, flags);
    });
}

fn drop_table(batch: &mut Batch, index: usize, family: Family, name: &str) {
    batch.push(Part::Table(index), msg::DEL_TABLE, 0, family.number(), |a| a.text(attr::TABLE_NAME, name));
}

fn put_table(batch: &mut Batch, index: usize, table: &Table, mode: Mode) -> Result<(), Error> {
    if mode == Mode::Replace {
        // Deleting fails when there is none, so make sure that there is.
        new_table(batch, index, table, 0);
    }
    if mode != Mode::CreateOwned {
        drop_table(batch, index, table.family, &table.name);
    }
    new_table(batch, index, table, if mode == Mode::Replace { 0 } else { TABLE_F_OWNER });
    put_content(batch, index, None, table)
}

/// Empties a table but for what both states have.
fn change_table(batch: &mut Batch, index: usize, old: &Table, new: &Table) -> Result<(), Error> {
    let (part, family) = (Part::Table(index), new.family.number());
    // A refusal because the table is not as we left it then names the table.
    batch.push(part, msg::DEL_RULE, 0, family, |a| a.text(attr::RULE_TABLE, &new.name));
    for map in &old.maps {
        batch.push(part, msg::DEL_SET_ELEM, 0, family, |a| {
            a.text(attr::ELEMS_TABLE, &new.name);
            a.text(attr::ELEMS_SET, &map.name);
        });
    }
    let chains: HashMap<_, _> = new.chains.iter().map(|c| (&c.name, &c.base)).collect();
    for chain in old.chains.iter().filter(|c| chains.get(&c.name) != Some(&&c.base)) {
        batch.push(part, msg::DEL_CHAIN, 0, family, |a| {
            a.text(attr::CHAIN_TABLE, &new.name);
            a.text(attr::CHAIN_NAME, &chain.name);
        });
    }
    let maps: HashSet<_> = new.maps.iter().map(|m| (&m.name, m.v6)).collect();
    let sets: HashSet<_> = new.sets.iter().collect();
    let gone = old.maps.iter().filter(|m| !maps.contains(&(&m.name, m.v6))).map(|m| &m.name);
    for name in gone.chain(old.sets.iter().filter(|s| !sets.contains(s)).map(|s| &s.name)) {
        batch.push(part, msg::DEL_SET, 0, family, |a| {
            a.text(attr::SET_TABLE, &new.name);
            a.text(attr::SET_NAME, name);
        });
    }
    put_content(batch, index, Some(old), new)
}

/// Everything in a table that `old` doesn't have yet, and all rules and elements of maps.
fn put_content(batch: &mut Batch, index: usize, old: Option<&Table>, table: &Table) -> Result<(), Error> {
    let old_maps: HashSet<_> = old.iter().flat_map(|t| &t.maps).map(|m| (&m.name, m.v6)).collect();
    let old_sets: HashSet<_> = old.iter().flat_map(|t| &t.sets).collect();
    let old_chains: HashMap<_, _> = old.iter().flat_map(|t| &t.chains).map(|c| (&c.name, &c.base)).collect();
    let maps = || table.maps.iter().enumerate();
    for (m, map) in maps().filter(|(_, m)| !old_maps.contains(&(&m.name, m.v6))) {
        put_map(batch, Part::Map(index, m), table, map);
    }
    for (s, set) in table.sets.iter().enumerate().filter(|(_, s)| !old_sets.contains(s)) {
        put_set(batch, Part::Set(index, s), table, set);
    }
    let chains = || table.chains.iter().enumerate();
    for (c, chain) in chains().filter(|(_, c)| old_chains.get(&c.name) != Some(&&c.base)) {
        put_chain(batch, Part::Chain(index, c), table, chain);
    }
    for (m, map) in maps() {
        put_elements(batch, Part::Map(index, m), table, map)?;
    }
    for (c, chain) in chains() {
        for (r, item) in chain.rules.iter().enumerate() {
            rule::put(batch, Part::Rule(index, c, r), table, &chain.name, item)?;
        }
    }
    Ok(())
}

/// Addresses that a set holds at most.
const SET_SIZE: u32 = 65_536;

fn put_set(batch: &mut Batch, part: Part, table: &Table, set: &SourceSet) {
    let id = batch.set_id();
    let milliseconds = u64::try_from(set.timeout.as_millis()).unwrap_or(u64::MAX);
    batch.push(part, msg::NEW_SET, NLM_F_CREATE | NLM_F_EXCL, table.family.number(), |a| {
        a.text(attr::SET_TABLE, &table.name);
        a.text(attr::SET_NAME, &set.name);
        a.be32(attr::SET_FLAGS, SET_F_TIMEOUT | SET_F_DYNAMIC);
        a.be32(attr::SET_KEY_TYPE, if set.v6 { data_type::IPV6_ADDR } else { data_type::IPV4_ADDR });
        a.be32(attr::SET_KEY_LEN, if set.v6 { 16 } else { 4 });
        a.nest(attr::SET_DESC, |a| a.be32(attr::DESC_SIZE, SET_SIZE));
        a.bytes(attr::SET_TIMEOUT, &milliseconds.to_be_bytes());
        a.be32(attr::SET_ID, id);
    });
}

fn put_chain(batch: &mut Batch, part: Part, table: &Table, chain: &Chain) {
    batch.push(part, msg::NEW_CHAIN, NLM_F_CREATE | NLM_F_EXCL, table.family.number(), |a| {
        a.text(attr::CHAIN_TABLE, &table.name);
        a.text(attr::CHAIN_NAME, &chain.name);
        let Some(base) = &chain.base else { return };
        a.nest(attr::CHAIN_HOOK, |a| {
            a.be32(attr::HOOK_NUMBER, base.hook.number());
            a.bytes(attr::HOOK_PRIORITY, &base.priority.to_be_bytes());
        });
        if let Some(policy) = base.policy {
            let accept = policy == Policy::Accept;
            a.be32(attr::CHAIN_POLICY, u32::from(accept));
        }
        a.text(attr::CHAIN_TYPE, base.kind.name());
    });
}

fn put_map(batch: &mut Batch, part: Part, table: &Table, map: &VerdictMap) {
    let id = batch.set_id();
    let address = if map.v6 { data_type::IPV6_ADDR } else { data_type::IPV4_ADDR };
    let bits = data_type::CONCAT_BITS;
    let kind = (((address << bits) | data_type::INET_PROTO) << bits) | data_type::INET_SERVICE;
    batch.push(part, msg::NEW_SET, NLM_F_CREATE | NLM_F_EXCL, table.family.number(), |a| {
        a.text(attr::SET_TABLE, &table.name);
        a.text(attr::SET_NAME, &map.name);
        a.be32(attr::SET_FLAGS, SET_F_MAP);
        a.be32(attr::SET_KEY_TYPE, kind);
        a.be32(attr::SET_KEY_LEN, if map.v6 { 24 } else { 12 });
        a.be32(attr::SET_DATA_TYPE, DATA_TYPE_VERDICT);
        a.be32(attr::SET_DATA_LEN, 0);
        a.be32(attr::SET_ID, id);
    });
}

/// Elements that fit in one message: a nested attribute is at most 64 KiB.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 400;

fn put_elements(batch: &mut Batch, part: Part, table: &Table, map: &VerdictMap) -> Result<(), Error> {
    if let Some((key, _)) = map.entries.iter().find(|(key, _)| key.addr.is_ipv6() != map.v6) {
        return Err(Error::MapFamily { map: map.name.clone(), addr: key.addr });
    }
    for chunk in map.entries.chunks(ELEMENTS_PER_MESSAGE) {
        batch.push(part, msg::NEW_SET_ELEM, NLM_F_CREATE, table.family.number(), |a| {
            a.text(attr::ELEMS_TABLE, &table.name);
            a.text(attr::ELEMS_SET, &map.name);
            a.nest(attr::ELEMS_LIST, |a| {
                for (key, to) in chunk {
                    a.nest(attr::LIST_ELEM, |a| {
                        a.nest(attr::ELEM_KEY, |a| a.bytes(attr::DATA_VALUE, &key_bytes(key)));
                        a.nest(attr::ELEM_DATA, |a| verdict(a, to));
                    });
                }
            });
        });
    }
    Ok(())
}

fn key_bytes(key: &MapKey) -> Vec<u8> {
    let mut bytes = rule::address_bytes(key.addr);
    bytes.extend_from_slice(&[key.l4.number(), 0, 0, 0]);
    bytes.extend_from_slice(&key.port.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// Writes a verdict as data.
pub(super) fn verdict(a: &mut Attrs<'_>, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (VERDICT_ACCEPT, None),
        Verdict::Drop => (VERDICT_DROP, None),
        Verdict::Return => (VERDICT_RETURN, None),
        Verdict::Jump(chain) => (VERDICT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (VERDICT_GOTO, Some(chain)),
    };
    a.nest(attr::DATA_VERDICT, |a| {
        a.bytes(attr::VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            a.text(attr::VERDICT_CHAIN, chain);
        }
    });
}
