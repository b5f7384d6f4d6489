//! One CA takes over from another without a failed handshake.
//!
//! A CA under a root that nobody knows yet is announced first: its root is trusted, the old CA signs on. After a time in
//! which every workload has heard of it, it signs; the old root stays trusted until what the old CA signed has ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::authority::DEFAULT_TTL;
use super::{Authority, pem};

/// What is in force at one moment.
#[derive(Clone)]
pub struct Active {
    /// Who signs.
    pub signer: Arc<Authority>,
    /// Certificates that peers trust, PEM; the signer's own root first.
    pub roots: Arc<str>,
    /// Revocation lists, PEM; empty if there are none.
    pub revoked: Arc<str>,
}

/// The CAs of a mesh: one signs, others come or go.
pub(super) struct Rotation {
    signer: Arc<Authority>,
    /// Signs from this moment on.
    next: Option<(Arc<Authority>, SystemTime)>,
    /// Signed before; trusted until this moment at the earliest.
    former: Vec<(Arc<Authority>, SystemTime)>,
}

/// For how long a CA that signs no more is trusted at least: what it signed before this process began is not known.
const TRUSTED_AFTER: Duration = DEFAULT_TTL;

/// What becomes of a CA that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is the one that is known.
    Known,
    /// It signs from now on.
    Signs,
    /// It will sign from this moment on.
    Announced(SystemTime),
}

impl Rotation {
    pub(super) fn new(signer: Arc<Authority>) -> Self {
        Rotation { signer, next: None, former: Vec::new() }
    }

    pub(super) fn active(&self) -> Active {
        let others = || self.next.iter().chain(&self.former).map(|(ca, _)| ca);
        let all = || [&self.signer].into_iter().chain(others());
        let lists: Vec<&str> = all().map(|ca| ca.files().revoked.trim()).filter(|list| !list.is_empty()).collect();
        Active {
            signer: self.signer.clone(),
            roots: pem::to_pem(all().flat_map(|ca| ca.roots())).into(),
            revoked: lists.join("\n").into(),
        }
    }

    /// Takes the CA that the secret holds now. One whose root isn't known yet is announced for a time, unless the one
    /// that signs ends before.
    pub(super) fn offer(&mut self, new: Authority, now: SystemTime, announce: Duration) -> Offered {
        if new.files() == self.signer.files() {
            let cancelled = self.next.take().is_some();
            return if cancelled { Offered::Signs } else { Offered::Known };
        }
        if self.next.as_ref().is_some_and(|(next, _)| next.files() == new.files()) {
            return Offered::Known;
        }
        let same_key = new.files().cert == self.signer.files().cert && new.files().key == self.signer.files().key;
        let at = (now + announce).min(self.signer.not_after());
        if !same_key && !self.signer.roots().contains(&new.roots()[0]) && at > now {
            self.next = Some((Arc::new(new), at));
            return Offered::Announced(at);
        }
        self.next = None;
        if same_key {
            // Somebody edited what is trusted: as written, at once.
            self.former.clear();
            self.signer = Arc::new(new);
        } else {
            self.sign_with(Arc::new(new), now);
        }
        Offered::Signs
    }

    /// Does what is due; says whether anything is different now.
    pub(super) fn advance(&mut self, now: SystemTime) -> bool {
        let before = self.former.len();
        self.former.retain(|former| trusted_until(former) > now);
        let mut changed = self.former.len() != before;
        if let Some((next, _)) = self.next.take_if(|(_, at)| *at <= now) {
            self.sign_with(next, now);
            changed = true;
        }
        changed
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<SystemTime> {
        let ends = self.former.iter().map(trusted_until);
        ends.chain(self.next.as_ref().map(|(_, at)| *at)).min()
    }

    fn sign_with(&mut self, new: Arc<Authority>, now: SystemTime) {
        let old = std::mem::replace(&mut self.signer, new);
        self.former.push((old, now + TRUSTED_AFTER));
    }
}

fn trusted_until((ca, at_least): &(Arc<Authority>, SystemTime)) -> SystemTime {
    ca.last_end().max(*at_least)
}
