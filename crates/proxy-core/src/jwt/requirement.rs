//! Which tokens a request needs.

use super::locations::without;
use super::token::Token;
use super::{Location, Passed, Provider, Signatures, Status, audience, claims};
use crate::head::RequestHead;

/// Which tokens a request needs. Providers are named by their place in the list.
#[derive(Debug, Clone)]
pub enum Requirement {
    /// One of this provider.
    Provider(usize),
    /// One of this provider, for one of these audiences.
    Audience(usize, Vec<Box<str>>),
    /// One of these holds.
    Any(Vec<Requirement>),
    /// All of these hold.
    All(Vec<Requirement>),
    /// No token at all, or good ones only, where these providers look.
    AllowMissing(Vec<usize>),
    /// Anything; good tokens where these providers look are taken notice of.
    AllowFailed(Vec<usize>),
}

/// One request and all that is needed to judge it.
pub struct Check<'c> {
    pub providers: &'c [Provider],
    pub head: &'c dyn RequestHead,
    pub now: u64,
    pub signatures: &'c dyn Signatures,
}

impl Check<'_> {
    /// Whether the request meets the requirement; what good tokens change is added to `passed`.
    pub fn meets(&self, requirement: &Requirement, passed: &mut Passed) -> Result<(), Status> {
        match requirement {
            Requirement::Provider(at) => self.of_provider(*at, &self.providers[*at].audiences, passed),
            Requirement::Audience(at, audiences) => self.of_provider(*at, audiences, passed),
            Requirement::Any(some) => {
                let mut last = Status::Missing;
                for one in some {
                    match self.meets(one, passed) {
                        Ok(()) => return Ok(()),
                        Err(status) => last = status,
                    }
                }
                Err(last)
            }
            Requirement::All(all) => all.iter().try_for_each(|one| self.meets(one, passed)),
            Requirement::AllowMissing(of) => self.all_good(of, passed),
            Requirement::AllowFailed(of) => {
                // Bad tokens are passed over one by one.
                for (location, token) in self.tokens(of) {
                    let _ = self.by_issuer(of, location, &token, passed);
                }
                Ok(())
            }
        }
    }

    /// One good token of the provider is enough.
    fn of_provider(&self, at: usize, audiences: &[Box<str>], passed: &mut Passed) -> Result<(), Status> {
        let provider = &self.providers[at];
        let mut last = Status::Missing;
        for (location, token) in self.tokens(&[at]).into_iter().rev() {
            match self.take(provider, audiences, location, &token, passed) {
                Ok(()) => return Ok(()),
                Err(status) => last = status,
            }
        }
        Err(last)
    }

    /// Every token must be good: one that isn't is no missing one.
    fn all_good(&self, of: &[usize], passed: &mut Passed) -> Result<(), Status> {
        self.tokens(of).iter().rev().try_for_each(|(location, token)| self.by_issuer(of, location, token, passed))
    }

    fn by_issuer(&self, of: &[usize], location: &Location, token: &str, passed: &mut Passed) -> Result<(), Status> {
        let issuer = Token::parse(token)?.issuer;
        let mut all = of.iter().map(|at| &self.providers[*at]).filter(|one| one.locations.contains(location));
        let found = all.clone().find(|one| *one.issuer == *issuer).or_else(|| all.find(|one| one.issuer.is_empty()));
        let provider = found.ok_or(Status::UnknownIssuer)?;
        self.take(provider, &provider.audiences, location, token, passed)
    }

    /// All tokens where these providers look, each place once.
    fn tokens(&self, of: &[usize]) -> Vec<(&Location, String)> {
        let mut seen: Vec<&Location> = Vec::new();
        for location in of.iter().flat_map(|at| &self.providers[*at].locations) {
            if !seen.contains(&location) {
                seen.push(location);
            }
        }
        seen.into_iter().filter_map(|location| Some((location, location.token(self.head)?))).collect()
    }

    /// Notes what a good token changes.
    fn take(
        &self,
        provider: &Provider,
        audiences: &[Box<str>],
        location: &Location,
        text: &str,
        passed: &mut Passed,
    ) -> Result<(), Status> {
        let token = self.verified(provider, audiences, text)?;
        for (path, name) in &provider.claim_headers {
            if let Some(value) = claims::header_value(&token.payload, path) {
                passed.added.push((name.clone(), value));
            }
        }
        if let Some(name) = &provider.payload_header {
            let bare = token.encoded_payload.trim_end_matches('=');
            let padding = if provider.pad_payload { (4 - bare.len() % 4) % 4 } else { 0 };
            passed.added.push((name.clone(), format!("{bare}{}", "=".repeat(padding)).into_bytes()));
        }
        if !provider.forward {
            self.hide(location, passed);
        }
        if !provider.payload_key.is_empty() {
            let claims = claims::normalized(&token.payload, &provider.space_delimited);
            passed.claims.insert(provider.payload_key.to_string(), claims);
        }
        passed.clear_route |= provider.clear_route;
        Ok(())
    }

    fn verified<'t>(&self, provider: &Provider, audiences: &[Box<str>], text: &'t str) -> Result<Token<'t>, Status> {
        let token = Token::parse(text)?;
        if !provider.issuer.is_empty() && *provider.issuer != *token.issuer {
            return Err(Status::UnknownIssuer);
        }
        token.check_time(self.now, provider.clock_skew)?;
        let meant = |wanted: &str| token.audiences.iter().any(|given| audience(given) == wanted);
        if !audiences.is_empty() && !audiences.iter().any(|wanted| meant(wanted)) {
            return Err(Status::AudienceNotAllowed);
        }
        provider.keys.as_ref().ok_or(Status::NoKeys)?.verify(&token, self.signatures)?;
        Ok(token)
    }

    /// Takes the token out of the request. One in a cookie stays, as Envoy has it.
    fn hide(&self, location: &Location, passed: &mut Passed) {
        match location {
            Location::Header { name, .. } => passed.removed.push(name.clone()),
            Location::Parameter(name) => {
                let path = passed.path.as_deref().unwrap_or_else(|| self.head.path());
                passed.path = Some(without(path, name));
            }
            Location::Cookie(_) => {}
        }
    }
}
