//! Which user and group ids exist inside the sandbox.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};

/// How many ids a cluster wants: those that container images use.
const WANTED: u32 = 65_536;

/// How ids are mapped into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdMap {
    /// Root: the same ids inside as outside.
    Same { count: u32 },
    /// A user with subordinate ids: root inside is the user, the rest is from these ranges.
    Subordinate { uids: (u32, u32), gids: (u32, u32) },
    /// A user without: root inside is the user and nothing else exists.
    Single,
}

impl IdMap {
    /// The widest map this user can have.
    pub(crate) fn detect() -> IdMap {
        let uid = Uid::effective();
        if uid.is_root() {
            let count = mapped_here("/proc/self/uid_map").min(mapped_here("/proc/self/gid_map"));
            if count > 1 {
                return IdMap::Same { count };
            }
        }
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
        let range = |path| subordinate(&fs::read_to_string(path).unwrap_or_default(), &name, uid.as_raw());
        match (range("/etc/subuid"), range("/etc/subgid")) {
            (Some(uids), Some(gids)) if installed("newuidmap") && installed("newgidmap") => {
                IdMap::Subordinate { uids, gids }
            }
            _ => IdMap::Single,
        }
    }

    /// Whether more than one id exists inside.
    pub(crate) fn many(&self) -> bool {
        *self != IdMap::Single
    }

    /// Gives the process, which has just made its user namespace, its ids.
    pub(crate) fn apply(&self, pid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        match self {
            IdMap::Same { count } => {
                fs::write(format!("/proc/{pid}/uid_map"), format!("0 0 {count}"))?;
                fs::write(format!("/proc/{pid}/gid_map"), format!("0 0 {count}"))
            }
            IdMap::Subordinate { uids, gids } => {
                map_with("newuidmap", pid, uid.as_raw(), *uids)?;
                map_with("newgidmap", pid, gid.as_raw(), *gids)
            }
            IdMap::Single => {
                fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
                fs::write(format!("/proc/{pid}/uid_map"), format!("0 {uid} 1"))?;
                fs::write(format!("/proc/{pid}/gid_map"), format!("0 {gid} 1"))
            }
        }
    }
}

fn mapped_here(path: &str) -> u32 {
    leading_ids(&fs::read_to_string(path).unwrap_or_default())
}

/// How many ids from 0 on a map of `/proc` covers without a gap, at most those wanted.
fn leading_ids(map: &str) -> u32 {
    let mut ranges: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().ok());
            Some((fields.next()??, fields.nth(1)??))
        })
        .collect();
    ranges.sort_unstable();
    let mut end = 0;
    for (start, count) in ranges {
        if start > end {
            break;
        }
        end = end.max(start + count);
    }
    u32::try_from(end).unwrap_or(u32::MAX).min(WANTED)
}

/// The range of subordinate ids of a user in `/etc/subuid`.
fn subordinate(file: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    file.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let mine = !who.is_empty() && (who == name || who.parse() == Ok(uid));
        (mine && count > 1).then_some((start, count.min(WANTED - 1)))
    })
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"]
        .iter()
        .any(|dir| std::path::Path::new(dir).join(program).exists())
}

fn map_with(program: &str, pid: u32, own: u32, (start, count): (u32, u32)) -> io::Result<()> {
    let numbers = [pid, 0, own, 1, 1, start, count].map(|n| n.to_string());
    let output = Command::new(program).args(numbers).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program}: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_counts_ids_from_zero_without_gaps() {
        for (map, expect) in [
            ("         0          0 4294967295\n", 65_536),
            ("0 1000 1\n", 1),
            ("0 1000 1\n1 100000 65535\n", 65_536),
            ("0 1000 1\n5 100000 65535\n", 1),
            ("", 0),
        ] {
            assert_eq!(leading_ids(map), expect, "{map:?}");
        }
    }

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let file = "root:1:1\nann:100000:65536\n1001:300000:70000\nbob:5:1\n";
        for (name, uid, expect) in [
            ("ann", 1000, Some((100_000, 65_535))),
            ("carl", 1001, Some((300_000, 65_535))),
            ("bob", 7, None),
            ("", 42, None),
        ] {
            assert_eq!(subordinate(file, name, uid), expect, "{name} {uid}");
        }
    }
}
