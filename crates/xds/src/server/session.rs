//! One client's stream as a state machine.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::message::{Entry, Names, Request, Response};
use super::subscription::{Dirty, Subscription};

/// Where a session finds resources, as they are for its client now.
pub trait Catalog {
    /// The names a wildcard subscription stands for.
    fn all(&mut self, type_url: &str) -> Vec<Arc<str>>;
    /// The resource of this name, if there is one.
    fn get(&mut self, type_url: &str, name: &str) -> Option<Entry>;
}

/// Bounds on what one client can make the server remember.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Resource types in one stream.
    pub types: usize,
    /// Names subscribed and held, for each type.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { types: 64, names: 200_000 }
    }
}

/// A client asked for more than a session remembers.
#[derive(Debug, thiserror::Error)]
#[error("too many {what} in one discovery stream (limit {limit}); split the subscription or raise the limit")]
pub struct LimitExceeded {
    what: &'static str,
    limit: usize,
}

/// What a request meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client asked for resources.
    Subscribed,
    /// The client took the response of this nonce.
    Acked {
        /// The nonce it answered.
        nonce: String,
    },
    /// The client refused (part of) the response of this nonce.
    Nacked {
        /// The nonce it answered.
        nonce: String,
        /// What the client said was wrong.
        message: String,
        /// Names in the refused response.
        names: Vec<Arc<str>>,
    },
    /// An answer to a response that a newer one has replaced.
    Stale,
}

/// What a session knows about one type, for status pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// Nonce of the last response, empty before the first.
    pub sent: String,
    /// Nonce of the last response that the client took.
    pub acked: String,
    /// What the client said against the last response, if it refused it.
    pub error: Option<String>,
    /// How many resources the client holds.
    pub resources: usize,
}

struct TypeState {
    type_url: Arc<str>,
    subscription: Subscription,
    /// The response that the client has not answered yet, and the names in it.
    outstanding: Option<(String, Vec<Arc<str>>)>,
    sent: String,
    acked: String,
    error: Option<String>,
}

/// One client's stream: what it asked for, what it holds, and what it still has to answer.
///
/// For each type one response is outstanding at most; changes that come meanwhile are merged. A
/// refused version counts as sent, so it is not sent again until the resource changes.
pub struct Session {
    delta: bool,
    limits: Limits,
    types: Vec<TypeState>,
    order: &'static [&'static str],
    nonces: u64,
}

impl Session {
    /// A session of a new stream. `order` lists the types whose responses come first, in order.
    pub fn new(delta: bool, order: &'static [&'static str], limits: Limits) -> Self {
        Session { delta, limits, types: Vec::new(), order, nonces: 0 }
    }

    /// Takes one request.
    pub fn on_request(&mut self, request: Request) -> Result<Event, LimitExceeded> {
        let Some(index) = self.position(&request.type_url) else {
            return self.open(request);
        };
        let state = &mut self.types[index];
        let answer = state.answer(&request.nonce, request.error);
        // Only the incremental variant may change the subscription in an outdated answer: its
        // changes are relative, and lost if ignored.
        let stale = answer == Some(Event::Stale);
        let asked = if stale && matches!(request.names, Names::Full(_)) {
            false
        } else {
            state.subscription.update(request.names)
        };
        check("names", state.subscription.size(), self.limits.names)?;
        Ok(match answer {
            Some(Event::Stale) if asked => Event::Subscribed,
            Some(event) => event,
            None => Event::Subscribed,
        })
    }

    fn open(&mut self, request: Request) -> Result<Event, LimitExceeded> {
        check("types", self.types.len() + 1, self.limits.types)?;
        let subscription = Subscription::open(request.names);
        check("names", subscription.size(), self.limits.names)?;
        let state = TypeState {
            type_url: request.type_url.into(),
            subscription,
            outstanding: None,
            sent: String::new(),
            acked: String::new(),
            error: None,
        };
        let rank = |url: &str| self.order.iter().position(|known| *known == url);
        let rank = |url: &str| rank(url).unwrap_or(self.order.len());
        let at = self.types.partition_point(|other| rank(&other.type_url) <= rank(&state.type_url));
        self.types.insert(at, state);
        Ok(Event::Subscribed)
    }

    fn position(&self, type_url: &str) -> Option<usize> {
        self.types.iter().position(|state| &*state.type_url == type_url)
    }

    /// Notes that everything of a type may have changed, the list of names included.
    pub fn changed_all(&mut self, type_url: &str) {
        if let Some(index) = self.position(type_url) {
            self.types[index].subscription.dirty = Dirty::Everything;
        }
    }

    /// Notes that a resource of this name may have changed, appeared or gone.
    pub fn changed(&mut self, type_url: &str, name: &Arc<str>) {
        if let Some(index) = self.position(type_url) {
            let subscription = &mut self.types[index].subscription;
            if subscription.covers(name) {
                subscription.dirty.add(name.clone());
            }
        }
    }

    /// Sends a resource that the client asked for by name again, changed or not.
    ///
    /// Envoy waits for the endpoints of a cluster that it gets anew, and doesn't ask for them again.
    pub fn resend(&mut self, type_url: &str, name: &Arc<str>) {
        if let Some(index) = self.position(type_url) {
            self.types[index].subscription.resend(name);
        }
    }

    /// The next response that can be sent now, if any; call until `None`.
    pub fn next_response(&mut self, catalog: &mut dyn Catalog, version: &str) -> Option<Response> {
        let delta = self.delta;
        for state in self.types.iter_mut().filter(|state| state.outstanding.is_none()) {
            let type_url = state.type_url.clone();
            let diff = if delta {
                state.subscription.delta(catalog, &type_url)
            } else {
                state.subscription.sotw(catalog, &type_url)
            };
            let Some(diff) = diff else { continue };
            self.nonces += 1;
            let nonce = format!("{}-{version}", self.nonces);
            let names = diff.resources.iter().map(|entry| entry.name.clone()).collect();
            state.outstanding = Some((nonce.clone(), names));
            state.sent.clone_from(&nonce);
            return Some(Response {
                type_url,
                nonce,
                version: version.to_owned(),
                resources: diff.resources,
                removed: diff.removed,
            });
        }
        None
    }

    /// The types of this stream.
    pub fn types(&self) -> impl Iterator<Item = &Arc<str>> {
        self.types.iter().map(|state| &state.type_url)
    }

    /// Explicit names subscribed for a type.
    pub fn names(&self, type_url: &str) -> BTreeSet<Arc<str>> {
        self.position(type_url).map(|index| self.types[index].subscription.names.clone()).unwrap_or_default()
    }

    /// What is known of a type, if the client asked for it.
    pub fn status(&self, type_url: &str) -> Option<TypeStatus> {
        let state = &self.types[self.position(type_url)?];
        Some(TypeStatus {
            sent: state.sent.clone(),
            acked: state.acked.clone(),
            error: state.error.clone(),
            resources: state.subscription.held_count(),
        })
    }
}

impl TypeState {
    /// What the nonce and the error of a request say about the outstanding response.
    fn answer(&mut self, nonce: &str, error: Option<String>) -> Option<Event> {
        if nonce.is_empty() {
            return None;
        }
        if self.outstanding.as_ref().is_none_or(|(sent, _)| sent != nonce) {
            // A repeated answer to the last response only changes the subscription.
            return (self.sent != nonce).then_some(Event::Stale);
        }
        let (nonce, names) = self.outstanding.take()?;
        Some(match error {
            Some(message) => {
                self.error = Some(message.clone());
                Event::Nacked { nonce, message, names }
            }
            None => {
                self.error = None;
                self.acked.clone_from(&nonce);
                Event::Acked { nonce }
            }
        })
    }
}

fn check(what: &'static str, size: usize, limit: usize) -> Result<(), LimitExceeded> {
    if size > limit { Err(LimitExceeded { what, limit }) } else { Ok(()) }
}
