//! Becoming the user a container runs as, with no more rights than it was given.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, fchown};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::spec::Identity;

/// Gives up everything that the identity doesn't have. There is no way back.
pub(super) fn assume(identity: &Identity) -> Result<(), String> {
    if identity.many_ids {
        own_streams(identity)?;
    }
    let kept = kept(identity)?;
    drop_bounding(&kept).map_err(|e| format!("drop capabilities: {e}"))?;
    become_user(identity)?;
    if identity.uid == 0 {
        for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
            caps::set(None, set, &kept).map_err(|e| format!("set capabilities: {e}"))?;
        }
    }
    if !identity.privileged {
        set_no_new_privs().map_err(|e| format!("set no_new_privs: {e}"))?;
    }
    Ok(())
}

/// Gives the pipes of its output to the user, so that a program may open `/dev/stdout` again. Only pipes: anything else
/// may be a file of the machine.
fn own_streams(identity: &Identity) -> Result<(), String> {
    for name in ["stdout", "stderr"] {
        let stream = File::options().write(true).open(format!("/dev/{name}"));
        let Ok(stream) = stream else { continue };
        if stream.metadata().is_ok_and(|found| found.file_type().is_fifo()) {
            fchown(&stream, Some(identity.uid), Some(identity.gid))
                .map_err(|e| format!("hand over {name} to user {}: {e}", identity.uid))?;
        }
    }
    Ok(())
}

fn kept(identity: &Identity) -> Result<CapsHashSet, String> {
    let current = caps::read(None, CapSet::Permitted).map_err(|e| format!("read capabilities: {e}"))?;
    if identity.privileged || identity.capabilities.iter().any(|name| name == "ALL") {
        return Ok(current);
    }
    let mut kept = CapsHashSet::new();
    for name in &identity.capabilities {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        let capability: Capability =
            format!("CAP_{name}").parse().map_err(|_| format!("unknown capability {name:?}"))?;
        kept.insert(capability);
    }
    Ok(kept.intersection(&current).copied().collect())
}

fn drop_bounding(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    for capability in caps::read(None, CapSet::Bounding)? {
        if !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if identity.many_ids {
        let groups: Vec<Gid> = identity.groups.iter().map(|id| Gid::from_raw(*id)).collect();
        setgroups(&groups).map_err(|e| format!("set groups: {e}"))?;
    }
    setresgid(gid, gid, gid).map_err(|e| format!("become group {gid}: {e}"))?;
    setresuid(uid, uid, uid).map_err(|e| format!("become user {uid}: {e}"))
}
