//! Authorization: may this request or connection pass? Envoy's RBAC rules, compiled, and one answer as a value.

mod index;
mod matcher;
mod request;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::external::External;
use crate::flags::Flag;
use crate::jwt::JwtAuthn;
use index::Index;

pub use matcher::Matcher;
pub use request::{Peer, Request, client_address};
pub use value::{ClaimMatch, ValueMatch};

/// Details of a denial by rules that allow, of which none matched.
const NONE_MATCHED: &str = "rbac_access_denied_matched_policy[none]";
/// Ends the name under which the policy that matched unenforced rules is left for later filters.
pub const EFFECTIVE_POLICY: &str = "shadow_effective_policy_id";

/// What rules do with a request that one of them matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It passes, and others don't.
    Allow,
    /// It doesn't pass.
    Deny,
    /// It passes and is marked for audit, as far as there is any.
    Log,
}

/// A named rule: it matches when the request is one of the wanted and comes from one of the named.
#[derive(Debug, Clone)]
pub struct Policy {
    name: Arc<str>,
    details: Box<str>,
    permission: Matcher,
    principal: Matcher,
}

impl Policy {
    /// A policy by its name, what it is for and who it is about.
    pub fn new(name: &str, permission: Matcher, principal: Matcher) -> Self {
        // Blanks would look like the end of a field of the access log.
        let details = format!("rbac_access_denied_matched_policy[{}]", name.replace(char::is_whitespace, "_"));
        Self { name: name.into(), details: details.into(), permission, principal }
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        self.permission.matches(request) && self.principal.matches(request)
    }
}

/// Rules of one action.
#[derive(Debug, Clone)]
pub struct Rules {
    action: Action,
    policies: Box<[Policy]>,
    index: Index,
}

/// What rules say.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'r> {
    /// It may pass.
    pub allowed: bool,
    /// The rules' action.
    pub action: Action,
    /// Name of the policy that matched.
    pub policy: Option<&'r Arc<str>>,
    details: &'r str,
}

impl Rules {
    /// Compiles; of several policies that match the first by name counts.
    pub fn new(action: Action, mut policies: Vec<Policy>) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        let index = Index::new(policies.iter().map(|policy| (&policy.permission, &policy.principal)));
        Self { action, policies: policies.into(), index }
    }

    /// Names of all policies that match, not only of the one that counts: for explanations.
    pub fn matching<'r>(&'r self, request: &'r Request<'_>) -> impl Iterator<Item = &'r Arc<str>> {
        self.policies.iter().filter(|policy| policy.matches(request)).map(|policy| &policy.name)
    }

    /// The verdict about a request.
    pub fn decide(&self, request: &Request<'_>) -> Outcome<'_> {
        let found = self.index.find(request, |at| self.policies[at].matches(request));
        let policy = found.map(|at| &self.policies[at]);
        let allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        Outcome {
            allowed,
            action: self.action,
            policy: policy.map(|policy| &policy.name),
            details: policy.map_or(NONE_MATCHED, |policy| &policy.details),
        }
    }
}

/// A filter with rules: those enforced, and those that are only tried.
#[derive(Debug, Clone, Default)]
pub struct Rbac {
    /// Enforced.
    pub enforced: Option<Rules>,
    /// Tried.
    pub tried: Option<Rules>,
    /// Begins the names of what the tried rules leave behind.
    pub tried_prefix: Arc<str>,
    /// Begins the names of its statistics; those of the connection manager when empty.
    pub stat_prefix: Arc<str>,
}

/// One decision on the way of a request or connection.
#[derive(Debug, Clone)]
pub enum Check {
    /// Rules.
    Rules(Arc<Rbac>),
    /// Tokens.
    Tokens(Arc<JwtAuthn>),
    /// An external authorizer.
    External(Arc<External>),
    /// Rules that can't be read, and why: nothing passes.
    Unreadable(Arc<str>),
}

/// Why something may not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial<'r> {
    /// Status for requests.
    pub status: u16,
    /// Flag for the access log.
    pub flag: Option<Flag>,
    /// In Envoy's words.
    pub details: &'r str,
    /// In plain words.
    pub cause: String,
}

/// The verdict of one filter with rules.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'r> {
    /// The filter.
    pub rbac: &'r Arc<Rbac>,
    /// Of the enforced rules.
    pub enforced: Option<Outcome<'r>>,
    /// Of the tried rules.
    pub tried: Option<Outcome<'r>>,
}

/// The way of one request or connection through the checks: what earlier ones left for later ones.
#[derive(Debug, Default)]
pub struct Course<'r> {
    /// Prefixes of tried rules, and the policies of theirs that matched.
    marks: SmallVec<[(&'r str, &'r str); 2]>,
}

impl<'r> Course<'r> {
    /// What rules decide. Their verdict is told to `note`, for statistics.
    pub fn rules(
        &mut self,
        rbac: &'r Arc<Rbac>,
        request: &Request<'_>,
        note: &mut dyn FnMut(&Verdict<'r>),
    ) -> Result<(), Denial<'r>> {
        let of = |rules: &'r Option<Rules>| rules.as_ref().map(|rules| rules.decide(request));
        let verdict = Verdict { rbac, enforced: of(&rbac.enforced), tried: of(&rbac.tried) };
        note(&verdict);
        self.marks.extend(verdict.tried.and_then(|tried| Some((&*rbac.tried_prefix, &**tried.policy?))));
        match (verdict.enforced.filter(|outcome| !outcome.allowed), &rbac.enforced) {
            (Some(outcome), Some(rules)) => Err(denied(rules, outcome)),
            _ => Ok(()),
        }
    }

    /// Whether an external authorizer is to be asked.
    pub fn asks(&self, external: &External) -> bool {
        let Some((prefix, policy)) = &external.mark else { return true };
        self.marks.iter().any(|(of, name)| *of == &**prefix && policy.matches(name.as_bytes()))
    }
}

/// What is done about external authorizers where nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// What they would be asked about is denied.
    Denied,
    /// They were asked before.
    Passed,
}

/// Decides where nobody can be asked: rules count, tokens are left to others. Every verdict on the way is told to
/// `note`, for statistics; the first denial ends it.
pub fn decide<'r>(
    checks: &'r [Check],
    request: &Request<'_>,
    unasked: Unasked,
    mut note: impl FnMut(&Verdict<'r>),
) -> Result<(), Denial<'r>> {
    let mut course = Course::default();
    for check in checks {
        match check {
            Check::Rules(rbac) => course.rules(rbac, request, &mut note)?,
            Check::External(external) if unasked == Unasked::Denied && course.asks(external) => {
                return Err(unanswered(external.status, "nobody can be asked here"));
            }
            Check::External(_) | Check::Tokens(_) => {}
            Check::Unreadable(why) => return Err(unreadable(why)),
        }
    }
    Ok(())
}

/// The denial of what an external authorizer was not able to decide, and why it wasn't.
pub fn unanswered(status: u16, why: &str) -> Denial<'static> {
    Denial {
        status,
        flag: Some(Flag::UnauthorizedExternalService),
        details: "ext_authz_error",
        cause: format!("a CUSTOM AuthorizationPolicy matches, and its external authorizer gave no verdict: {why}"),
    }
}

fn denied<'r>(rules: &Rules, outcome: Outcome<'r>) -> Denial<'r> {
    let cause = match outcome.policy {
        Some(name) if outcome.action == Action::Deny => format!("denied by {}", spoken(name)),
        _ => format!("no ALLOW policy matches: {}", asked(rules)),
    };
    Denial { status: 403, flag: None, details: outcome.details, cause }
}

/// The denial of everything by rules that can't be read, and why they can't.
pub fn unreadable(why: &str) -> Denial<'static> {
    let cause = format!("authorization rules can't be read, so nothing passes: {why}");
    Denial { status: 403, flag: None, details: "rbac_access_denied_unreadable_rules", cause }
}

/// Some of the policies that were asked.
fn asked(rules: &Rules) -> String {
    let mut names: Vec<String> = rules.policies.iter().take(16).map(|policy| spoken(&policy.name)).collect();
    names.dedup();
    match names.len() {
        0 => "there is none for such traffic".to_owned(),
        1..=3 => names.join(", "),
        more => format!("{} and {} more", names[..3].join(", "), more - 3),
    }
}

/// `ns[a]-policy[b]-rule[0]` as people say it.
fn spoken(name: &str) -> String {
    let read = || {
        let rest = name.split_once("ns[")?.1;
        let (namespace, rest) = rest.split_once("]-policy[")?;
        let (policy, rest) = rest.split_once("]-rule[")?;
        let (rule, _) = rest.split_once(']')?;
        Some(format!("rule {rule} of AuthorizationPolicy {namespace}/{policy}"))
    };
    read().unwrap_or_else(|| format!("policy {name}"))
}
