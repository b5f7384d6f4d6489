//! Secrets of type `kubernetes.io/service-account-token`: tokens that last as long as the Secret and its account.

use std::collections::{BTreeMap, BTreeSet};

use lateen_apiserver::{EventType, Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::{Meta, map_mut};
use super::queue::{Next, Reconcile};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// The longest that the API server gives: such a token ends with its Secret, not with time.
const SECONDS: i64 = 1 << 32;

/// Fills these Secrets with a token, and deletes them with their account.
pub struct TokenSecrets {
    api: Api,
    root_ca: String,
}

impl TokenSecrets {
    /// A controller that works through `api`; `root_ca` is PEM.
    #[must_use]
    pub fn new(api: Api, root_ca: String) -> Self {
        Self { api, root_ca }
    }

    async fn fill(&self, secret: &Object, account: &Value) -> Result<(), Status> {
        let request = json!({"spec": {
            "expirationSeconds": SECONDS,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret.name(), "uid": secret.uid()},
        }});
        let answer = self.api.client.create_token(secret.namespace(), account.name(), &request).await?;
        let mut filled = Value::clone(secret);
        map_mut(&mut filled, "/metadata/annotations").insert(ACCOUNT_UID.into(), account.uid().into());
        filled["stringData"] = json!({
            "token": answer["status"]["token"],
            "ca.crt": self.root_ca,
            "namespace": secret.namespace(),
        });
        self.api.update(&gvr::SECRETS, filled).await.map(drop)
    }
}

/// The account that a Secret holds a token of.
fn account_of(secret: &Value) -> Option<Key> {
    let name = secret["metadata"]["annotations"][ACCOUNT].as_str()?;
    (secret["type"] == TYPE).then(|| Key::new(secret.namespace(), name))
}

fn is_filled(secret: &Value) -> bool {
    ["token", "ca.crt", "namespace"].iter().all(|field| !secret["data"][field].is_null())
}

impl Reconcile for TokenSecrets {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "serviceaccount-token"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        let Some(secret) = self.api.find(&gvr::SECRETS, &key.namespace, &key.name).await? else {
            return Ok(Next::Done);
        };
        let Some(account) = account_of(&secret).filter(|_| !secret.is_terminating()) else { return Ok(Next::Done) };
        let found = self.api.find(&gvr::SERVICE_ACCOUNTS, &account.namespace, &account.name).await?;
        let uid = &secret["metadata"]["annotations"][ACCOUNT_UID];
        match found {
            Some(account) if uid.is_null() || !is_filled(&secret) => self.fill(&secret, &account).await?,
            Some(account) if *uid == account.uid() => {}
            _ => self.api.delete(&gvr::SECRETS, &secret).await?,
        }
        Ok(Next::Done)
    }
}

/// Which Secrets hold tokens of which account.
#[derive(Default)]
pub struct Holders {
    by_account: BTreeMap<Key, BTreeSet<Key>>,
}

impl Holders {
    /// A Secret has changed: its key, if it holds a token.
    pub fn secret(&mut self, kind: EventType, secret: &Value) -> Option<Key> {
        let (account, key) = (account_of(secret)?, Key::of(secret));
        let holders = self.by_account.entry(account.clone()).or_default();
        if kind != EventType::Deleted {
            holders.insert(key.clone());
            return Some(key);
        }
        holders.remove(&key);
        if holders.is_empty() {
            self.by_account.remove(&account);
        }
        None
    }

    /// The Secrets with tokens of an account.
    pub fn of(&self, account: &Value) -> BTreeSet<Key> {
        self.by_account.get(&Key::of(account)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_the_account_they_name() {
        let secret = json!({"metadata": {"name": "s", "namespace": "n", "annotations": {ACCOUNT: "a"}}, "type": TYPE});
        let other =
            json!({"metadata": {"name": "o", "namespace": "n", "annotations": {ACCOUNT: "a"}}, "type": "Opaque"});
        let account = json!({"metadata": {"name": "a", "namespace": "n"}});
        let mut holders = Holders::default();
        assert_eq!(holders.secret(EventType::Added, &other), None);
        assert_eq!(holders.secret(EventType::Added, &secret), Some(Key::new("n", "s")));
        assert_eq!(holders.of(&account), BTreeSet::from([Key::new("n", "s")]));
        assert_eq!(holders.secret(EventType::Deleted, &secret), None);
        assert!(holders.by_account.is_empty());
    }
}
