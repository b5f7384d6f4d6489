//! `Impersonate-User` and its kin: acting as somebody else, for those who may.

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::query::percent_decode;
use crate::{
    auth::{AUTHENTICATED, Action, Rbac, UNAUTHENTICATED, User},
    status::Status,
};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom a request wants to act as.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: Vec<(String, String)>,
}

/// The user to act as: the one the headers ask for where the caller may; none where they ask for
/// nobody.
pub fn impersonate(rbac: &Rbac, caller: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    let Some(wish) = Wish::read(headers)? else { return Ok(None) };
    wish.check(rbac, caller)?;
    Ok(Some(wish.into_user()))
}

impl Wish {
    fn read(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let one = |name: &HeaderName| headers.get(name).map(text).unwrap_or_default();
        let mut extra = Vec::new();
        for (name, value) in headers {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                // Keys may contain what header names can't.
                let key = percent_decode(key, false).unwrap_or_else(|| key.to_owned());
                extra.push((key, text(value)));
            }
        }
        let groups = headers.get_all(&GROUP).iter().map(text).collect();
        let wish = Self { user: one(&USER), uid: one(&UID), groups, extra };
        if wish == Self::default() {
            return Ok(None);
        }
        if wish.user.is_empty() {
            return Err(Status::internal("requested groups, extra or uid without impersonating a user"));
        }
        Ok(Some(wish))
    }

    fn check(&self, rbac: &Rbac, caller: &User) -> Result<(), Status> {
        let may = |action: Action<'_>| rbac.check(caller, &Action { verb: "impersonate", ..action });
        match User::split_account(&self.user) {
            Some((namespace, name)) => {
                may(Action { resource: "serviceaccounts", namespace, name, ..Action::default() })?;
            }
            None => may(Action { resource: "users", name: &self.user, ..Action::default() })?,
        }
        for name in &self.groups {
            may(Action { resource: "groups", name, ..Action::default() })?;
        }
        for (subresource, name) in &self.extra {
            let resource = "userextras";
            may(Action { group: AUTHENTICATION, resource, subresource, name, ..Action::default() })?;
        }
        if !self.uid.is_empty() {
            may(Action { group: AUTHENTICATION, resource: "uids", name: &self.uid, ..Action::default() })?;
        }
        Ok(())
    }

    fn into_user(self) -> User {
        let mut extra = Map::new();
        for (key, value) in self.extra {
            let values = extra.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(value.into());
            }
        }
        let mut user = User { name: self.user, uid: self.uid, groups: self.groups, extra };
        if user.groups.is_empty()
            && let Some((namespace, _)) = User::split_account(&user.name)
        {
            user.groups = User::account_groups(namespace);
        }
        if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
            let group = if user.is_anonymous() { UNAUTHENTICATED } else { AUTHENTICATED };
            user.groups.push(group.into());
        }
        user
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn headers_say_whom_to_act_as() {
        let user = |pairs| Wish::read(&headers(pairs)).unwrap().unwrap().into_user();
        let jane = user(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-extra-example.com%2fscopes", "a"),
            ("impersonate-extra-example.com%2fscopes", "b"),
        ]);
        assert_eq!(
            (jane.name.as_str(), &jane.groups[..]),
            ("jane", &["dev", "ops", AUTHENTICATED].map(str::to_owned)[..])
        );
        assert_eq!(Value::Object(jane.extra), json!({"example.com/scopes": ["a", "b"]}));
        let account = user(&[("impersonate-user", "system:serviceaccount:a:b")]);
        assert_eq!(account.groups, ["system:serviceaccounts", "system:serviceaccounts:a", AUTHENTICATED]);
        assert_eq!(user(&[("impersonate-user", "system:anonymous")]).groups, [UNAUTHENTICATED]);
        assert_eq!(Wish::read(&headers(&[])), Ok(None));
        assert!(Wish::read(&headers(&[("impersonate-group", "dev")])).is_err());
    }
}
