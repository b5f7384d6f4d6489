//! Authentication of requests by JSON Web Tokens, as Envoy's `jwt_authn` filter does it: where tokens are looked for,
//! what they must say, what they leave for later decisions, and one answer as a value. Whether a signature is right is
//! asked of [`Signatures`]; the time is an argument.

mod claims;
mod keys;
mod locations;
mod requirement;
mod status;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::head::RequestHead;
use crate::route::RouteMatch;

pub use keys::{Curve, KeyMaterial, KeySet, KeySetError};
pub use locations::Location;
pub use requirement::Requirement;
pub use status::Status;
pub use token::Algorithm;

/// Tells whether signatures are right.
pub trait Signatures {
    /// Whether `signature` over `message` was made with the private half of `key`.
    fn verify(&self, algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool;
}

/// What a token must be to be taken for one of an issuer's.
#[derive(Debug, Clone, Default)]
pub struct Provider {
    /// The issuer; any when empty.
    pub issuer: Box<str>,
    /// Audiences, one of which it must be for; any when empty. Without scheme and closing slash.
    pub audiences: Vec<Box<str>>,
    /// The issuer's keys; `None` when they can't be read.
    pub keys: Option<KeySet>,
    /// Where it is looked for, in this order.
    pub locations: Vec<Location>,
    /// It is passed on.
    pub forward: bool,
    /// Gets its payload as it came.
    pub payload_header: Option<Box<str>>,
    /// That payload is padded.
    pub pad_payload: bool,
    /// The key under which later decisions find its claims.
    pub payload_key: Box<str>,
    /// Claims that are lists separated by blanks.
    pub space_delimited: Vec<Box<str>>,
    /// Claims that become headers: path and name.
    pub claim_headers: Vec<(Vec<Box<str>>, Box<str>)>,
    /// Seconds by which clocks may differ.
    pub clock_skew: u64,
    /// A route found earlier may be another after this.
    pub clear_route: bool,
}

/// What requests of some form need.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The form.
    pub form: RouteMatch,
    /// What they need; `None` is nothing.
    pub requirement: Option<Requirement>,
}

/// The filter.
#[derive(Debug, Clone)]
pub struct JwtAuthn {
    /// Whose tokens are known.
    pub providers: Vec<Provider>,
    /// The first whose form a request has counts.
    pub rules: Vec<Rule>,
    /// Browsers' questions before cross-origin requests pass without token.
    pub bypass_preflight: bool,
    /// Clients aren't told what is wrong.
    pub strip_failure: bool,
    /// Begins the names of its statistics.
    pub stat_prefix: Arc<str>,
}

/// What authentication changes in a request that passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passed {
    /// Headers that go.
    pub removed: Vec<Box<str>>,
    /// Headers that come, after those that go are gone.
    pub added: Vec<(Box<str>, Vec<u8>)>,
    /// The path without its token.
    pub path: Option<String>,
    /// The claims for later decisions, under the key of their provider.
    pub claims: Map<String, Value>,
    /// A route found earlier may be another now.
    pub clear_route: bool,
}

impl JwtAuthn {
    /// Whether a request passes without being looked at.
    pub fn bypasses(&self, head: &dyn RequestHead) -> bool {
        self.bypass_preflight && is_preflight(head)
    }

    /// Whether a request may pass, at `now` seconds since 1970.
    pub fn authenticate(
        &self,
        head: &dyn RequestHead,
        now: u64,
        signatures: &dyn Signatures,
    ) -> Result<Passed, Status> {
        let mut passed = Passed::default();
        if self.bypasses(head) {
            return Ok(passed);
        }
        let rule = self.rules.iter().find(|rule| rule.form.matches(head, 0));
        let Some(requirement) = rule.and_then(|rule| rule.requirement.as_ref()) else { return Ok(passed) };
        // What providers write is theirs alone, whether or not they get to write it.
        for provider in &self.providers {
            let own = provider.payload_header.iter().chain(provider.claim_headers.iter().map(|(_, header)| header));
            passed.removed.extend(own.filter(|name| head.header(name).is_some()).cloned());
        }
        let check = requirement::Check { providers: &self.providers, head, now, signatures };
        check.meets(requirement, &mut passed)?;
        Ok(passed)
    }
}

fn is_preflight(head: &dyn RequestHead) -> bool {
    let given = |name| head.header(name).is_some_and(|value| !value.is_empty());
    head.method() == "OPTIONS" && given("origin") && given("access-control-request-method")
}

/// The part of an audience that is compared: neither scheme nor closing slash count.
pub fn audience(text: &str) -> &str {
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    bare.strip_suffix('/').unwrap_or(bare)
}
