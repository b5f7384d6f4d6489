//! Whether one proxy may have credentials.

use std::sync::Arc;
use std::time::Duration;

use lateen_mesh::SpiffeId;
use tokio::time::Instant;

use crate::access::SecretAccess;

/// For how long a permission counts.
const GRANTED: Duration = Duration::from_secs(60);
/// When a proxy without permission is looked at again: its role may come after it.
const DENIED: Duration = Duration::from_secs(5);

/// The permission of one proxy, as last found out.
pub(super) struct Permission {
    access: Arc<dyn SecretAccess>,
    /// Nobody on the plain port, where callers don't prove who they are.
    caller: Option<SpiffeId>,
    granted: bool,
    asked: Option<Instant>,
}

impl Permission {
    pub(super) fn new(access: Arc<dyn SecretAccess>, caller: Option<SpiffeId>) -> Self {
        Permission { access, caller, granted: false, asked: None }
    }

    /// May it have credentials.
    pub(super) fn is_granted(&self) -> bool {
        self.granted
    }

    /// When to find out again; never for those that can't prove who they are.
    pub(super) fn due(&self) -> Option<Instant> {
        self.caller.as_ref()?;
        let Some(asked) = self.asked else { return Some(Instant::now()) };
        Some(asked + if self.granted { GRANTED } else { DENIED })
    }

    /// Finds out, if it is time; true when the answer changed.
    pub(super) async fn review(&mut self, proxy: &str) -> bool {
        let (Some(caller), Some(due)) = (&self.caller, self.due()) else { return false };
        if due > Instant::now() {
            return false;
        }
        let first = self.asked.replace(Instant::now()).is_none();
        match self.access.may_read(caller).await {
            Ok(granted) if granted != self.granted => {
                self.granted = granted;
                tracing::info!(proxy, granted, "access to the Secrets of its namespace changed");
                true
            }
            Ok(granted) => {
                if first && !granted {
                    let (namespace, account) = (&caller.namespace, &caller.service_account);
                    tracing::warn!(
                        proxy,
                        "the proxy gets no credentials: let ServiceAccount {account} list Secrets in namespace \
                         {namespace}, by a Role and a RoleBinding there"
                    );
                }
                false
            }
            Err(error) => {
                tracing::warn!(proxy, error, "can't find out whether the proxy may read Secrets; asking again");
                false
            }
        }
    }
}
