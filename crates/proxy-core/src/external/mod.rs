//! External authorizers, as Envoy's `ext_authz` filters ask them: what they are asked, and what their answers mean.

mod answer;
mod question;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::header_ops::HeaderOps;
use crate::http::Hcm;
use crate::pattern::StringMatch;
use crate::route::Forward;

pub use answer::{Answer, Changes, Denied};
pub use question::{Content, GRPC_PATH, Question, Side, grpc_message, http_headers};

/// An external authorizer, and when it is asked.
#[derive(Debug, Clone)]
pub struct External {
    /// Only what tried rules with this prefix matched is asked about; everything when `None`.
    pub mark: Option<(Box<str>, StringMatch)>,
    /// How it is asked.
    pub service: Service,
    /// The way to it, with its time limit.
    pub forward: Arc<Forward>,
    /// What questions are sent by.
    pub manager: Arc<Hcm>,
    /// What it can't be asked about passes.
    pub fail_open: bool,
    /// Requests that pass so bear a header that says it.
    pub tell_fail_open: bool,
    /// Status of the denial of what it can't be asked about.
    pub status: u16,
    /// A route found earlier may be another after it allowed a request.
    pub clear_route: bool,
    /// How much of bodies it sees; nothing when `None`.
    pub body: Option<BodyLimit>,
    /// Headers of requests that it sees.
    pub shown: Shown,
}

/// How much of a body an authorizer sees.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit {
    /// Bytes.
    pub max: usize,
    /// The beginning of a longer one is enough; otherwise requests with longer ones are refused.
    pub partial: bool,
    /// It may hold any bytes.
    pub bytes: bool,
}

/// Headers of requests that an authorizer sees.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Those with such names; all when `None`.
    pub only: Option<Vec<StringMatch>>,
    /// But those with such names.
    pub never: Vec<StringMatch>,
}

impl Shown {
    /// Whether it sees the header.
    pub fn shows(&self, name: &str) -> bool {
        let among = |list: &[StringMatch]| list.iter().any(|matcher| matcher.matches(name.as_bytes()));
        self.only.as_deref().is_none_or(among) && !among(&self.never)
    }
}

/// How an authorizer is asked.
#[derive(Debug, Clone)]
pub enum Service {
    /// By a call of `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// The host that is called.
        authority: Box<str>,
    },
    /// By a request like the one that it is about.
    Http(HttpService),
}

/// How an authorizer is asked over HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpService {
    /// Stands before paths.
    pub path_prefix: Box<str>,
    /// Headers that are added to questions.
    pub added: HeaderOps,
    /// Headers of an allowing answer that replace those of the request.
    pub upstream: Vec<StringMatch>,
    /// Headers of an allowing answer that are added to those of the request.
    pub upstream_added: Vec<StringMatch>,
    /// Headers of a denying answer that the client gets; all when `None`.
    pub denied: Option<Vec<StringMatch>>,
    /// Headers of an allowing answer that the client gets.
    pub allowed: Vec<StringMatch>,
}
