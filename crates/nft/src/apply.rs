//! Puts rules into the kernel, in the network namespace of the calling thread.

use std::fs;
use std::io;
use std::net::IpAddr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::encode::{self, Batch, Mode, Part};
use crate::expr::Owner;
use crate::table::{Family, Ruleset};

/// Why rules could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket, or it failed.
    #[error("cannot talk to nf_tables over netlink: {0}; the kernel needs CONFIG_NF_TABLES")]
    Socket(#[source] io::Error),
    /// The caller may not change rules here.
    #[error("not allowed to change nf_tables rules: run with CAP_NET_ADMIN in this network namespace")]
    NotAllowed,
    /// More rules than one transaction can carry.
    #[error("{0} bytes of rules do not fit in one transaction; use a map for many destinations")]
    TooLarge(usize),
    /// The kernel refused one part.
    #[error("the kernel refused {what}: {error}{hint}")]
    Refused {
        /// The part of the ruleset.
        what: String,
        /// The kernel's reason.
        error: io::Error,
        /// What to do about it, if known.
        hint: &'static str,
    },
    /// A user or group name without a number.
    #[error("no {kind} `{name}` in {file}; name an existing one or give its number")]
    UnknownOwner {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A map holds an address of the other family.
    #[error("map {map} cannot hold {addr}: make one map for each address family")]
    MapFamily {
        /// The map.
        map: String,
        /// The address.
        addr: IpAddr,
    },
    /// A spread without a destination.
    #[error("a destination translation needs at least one target")]
    NoTarget,
    /// A spread over both address families.
    #[error("targets of one destination translation must be of one address family")]
    MixedTargets,
}

/// Replaces the tables of `ruleset` in one transaction: other tables stay, and no packet sees a half of it.
pub fn apply(ruleset: &Ruleset) -> Result<(), Error> {
    let batch = encode::replace(ruleset, Mode::Replace)?;
    transact(&open()?, batch, ruleset)
}

/// Makes `new` of what [`apply`] or this made of `old`, in one transaction. Unlike `apply`, it keeps the content of
/// the sets that both have. An error leaves `old` in place.
pub fn update(old: &Ruleset, new: &Ruleset) -> Result<(), Error> {
    transact(&open()?, encode::update(old, new)?, new)
}

/// Removes a table; it is no error when there is none.
pub fn delete_table(family: Family, name: &str) -> Result<(), Error> {
    let socket = open()?;
    match transact(&socket, encode::delete_table(family, name), &Ruleset::default()) {
        Err(Error::Refused { error, .. }) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Tables that the kernel removes when this value (or the process) goes away.
pub struct Owned {
    socket: Socket,
}

/// Like [`apply`], with tables that only the returned value can change and that end with it.
pub fn apply_owned(ruleset: &Ruleset) -> Result<Owned, Error> {
    for table in &ruleset.tables {
        delete_table(table.family, &table.name)?;
    }
    let socket = open()?;
    transact(&socket, encode::replace(ruleset, Mode::CreateOwned)?, ruleset)?;
    Ok(Owned { socket })
}

impl Owned {
    /// Replaces the content of the owned tables; `ruleset` names the same tables.
    pub fn replace(&self, ruleset: &Ruleset) -> Result<(), Error> {
        transact(&self.socket, encode::replace(ruleset, Mode::ReplaceOwned)?, ruleset)
    }
}

/// What we ask the kernel for as room for one batch; it grants what its limit allows.
const SEND_BUFFER: usize = 4 << 20;

fn open() -> Result<Socket, Error> {
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(Error::Socket)?;
    socket.bind_auto().map_err(Error::Socket)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(Error::Socket)?;
    socket.set_cap_ack(true).map_err(Error::Socket)?;
    socket.set_non_blocking(true).map_err(Error::Socket)?;
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER).map_err(|e| Error::Socket(e.into()))?;
    }
    Ok(socket)
}

fn transact(socket: &Socket, batch: Batch, ruleset: &Ruleset) -> Result<(), Error> {
    let (bytes, parts) = batch.finish();
    socket.send(&bytes, 0).map_err(|error| match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Error::TooLarge(bytes.len()),
        _ => Error::Socket(error),
    })?;
    // The kernel works within `send`: all answers are waiting now.
    let mut answered = false;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => answered |= check_answers(&buffer, &parts, ruleset)?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(Error::Socket(e)),
        }
    }
    if answered { Ok(()) } else { Err(Error::Socket(io::Error::other("the kernel gave no answer"))) }
}

/// Reads the answers in one datagram: true when there was one, an error for the first refusal.
fn check_answers(mut bytes: &[u8], parts: &[Part], ruleset: &Ruleset) -> Result<bool, Error> {
    let mut any = false;
    while bytes.len() >= 20 {
        let len = read_u32(bytes, 0) as usize;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        if kind == libc::NLMSG_ERROR as u16 {
            any = true;
            let code = read_u32(bytes, 16) as i32;
            if code != 0 {
                let part = parts.get(read_u32(bytes, 8) as usize).copied().unwrap_or(Part::Frame);
                return Err(refusal(io::Error::from_raw_os_error(-code), part, ruleset));
            }
        }
        bytes = bytes.get(len.next_multiple_of(4).max(20)..).unwrap_or_default();
    }
    Ok(any)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn refusal(error: io::Error, part: Part, ruleset: &Ruleset) -> Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => return Error::NotAllowed,
        Some(libc::ENOENT) => "; it names a chain or map that the table lacks, or this kernel lacks the module",
        Some(libc::EOPNOTSUPP) => "; this kernel lacks the feature, or another process owns the table",
        Some(libc::EBUSY) => "; the table is in use by another process",
        _ => "",
    };
    Error::Refused { what: describe(part, ruleset), error, hint }
}

fn describe(part: Part, ruleset: &Ruleset) -> String {
    let name = |t: usize| ruleset.tables.get(t).map_or("", |t| t.name.as_str());
    match part {
        Part::Frame => "the transaction".to_owned(),
        Part::Table(t) => format!("table {}", name(t)),
        Part::Map(t, m) => format!("map {} of table {}", ruleset.tables[t].maps[m].name, name(t)),
        Part::Set(t, s) => format!("set {} of table {}", ruleset.tables[t].sets[s].name, name(t)),
        Part::Chain(t, c) => format!("chain {} of table {}", ruleset.tables[t].chains[c].name, name(t)),
        Part::Rule(t, c, r) => {
            let chain = &ruleset.tables[t].chains[c];
            format!("rule `{}` in chain {} of table {}", chain.rules[r], chain.name, name(t))
        }
    }
}

/// The number of a user.
pub(crate) fn resolve_user(owner: &Owner) -> Result<u32, Error> {
    resolve(owner, "user", "/etc/passwd")
}

/// The number of a group.
pub(crate) fn resolve_group(owner: &Owner) -> Result<u32, Error> {
    resolve(owner, "group", "/etc/group")
}

fn resolve(owner: &Owner, kind: &'static str, file: &'static str) -> Result<u32, Error> {
    let name = match owner {
        Owner::Id(id) => return Ok(*id),
        Owner::Name(name) => name,
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let id = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    id.ok_or_else(|| Error::UnknownOwner { kind, name: name.clone(), file })
}
