//! Response flags: why a request or connection ended as it did, in Envoy's letters.

use std::fmt;

/// One reason, in the order in which a log writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flag {
    /// `LH`: the local service failed its health check.
    FailedLocalHealthCheck,
    /// `UH`: no healthy endpoint.
    NoHealthyUpstream,
    /// `UT`: the upstream took too long.
    UpstreamRequestTimeout,
    /// `LR`: reset by this proxy.
    LocalReset,
    /// `UR`: reset by the upstream.
    UpstreamRemoteReset,
    /// `UF`: no connection to the upstream.
    UpstreamConnectionFailure,
    /// `UC`: the upstream connection ended early.
    UpstreamConnectionTermination,
    /// `UO`: a circuit breaker refused.
    UpstreamOverflow,
    /// `NR`: no route, or no filter chain.
    NoRouteFound,
    /// `DI`: delay injected.
    DelayInjected,
    /// `FI`: abort injected.
    FaultInjected,
    /// `RL`: rate limited.
    RateLimited,
    /// `UAEX`: the external authorizer refused.
    UnauthorizedExternalService,
    /// `RLSE`: the rate limit service failed.
    RateLimitServiceError,
    /// `DC`: the client went away.
    DownstreamConnectionTermination,
    /// `URX`: out of retries.
    UpstreamRetryLimitExceeded,
    /// `SI`: the stream was idle for too long.
    StreamIdleTimeout,
    /// `IH`: a header was refused by the rules.
    InvalidEnvoyRequestHeaders,
    /// `DPE`: the client broke the protocol.
    DownstreamProtocolError,
    /// `UMSDR`: the stream reached its maximum duration.
    UpstreamMaxStreamDurationReached,
    /// `NFCF`: no filter configuration.
    NoFilterConfigFound,
    /// `DT`: the connection reached its maximum duration.
    DurationTimeout,
    /// `UPE`: the upstream broke the protocol.
    UpstreamProtocolError,
    /// `NC`: the route's cluster doesn't exist.
    NoClusterFound,
    /// `OM`: the overload manager refused.
    OverloadManager,
    /// `DF`: the name could not be resolved.
    DnsResolutionFailed,
}

use Flag::*;

/// Every flag with its letters.
pub const ALL: [(Flag, &str); 26] = [
    (FailedLocalHealthCheck, "LH"),
    (NoHealthyUpstream, "UH"),
    (UpstreamRequestTimeout, "UT"),
    (LocalReset, "LR"),
    (UpstreamRemoteReset, "UR"),
    (UpstreamConnectionFailure, "UF"),
    (UpstreamConnectionTermination, "UC"),
    (UpstreamOverflow, "UO"),
    (NoRouteFound, "NR"),
    (DelayInjected, "DI"),
    (FaultInjected, "FI"),
    (RateLimited, "RL"),
    (UnauthorizedExternalService, "UAEX"),
    (RateLimitServiceError, "RLSE"),
    (DownstreamConnectionTermination, "DC"),
    (UpstreamRetryLimitExceeded, "URX"),
    (StreamIdleTimeout, "SI"),
    (InvalidEnvoyRequestHeaders, "IH"),
    (DownstreamProtocolError, "DPE"),
    (UpstreamMaxStreamDurationReached, "UMSDR"),
    (NoFilterConfigFound, "NFCF"),
    (DurationTimeout, "DT"),
    (UpstreamProtocolError, "UPE"),
    (NoClusterFound, "NC"),
    (OverloadManager, "OM"),
    (DnsResolutionFailed, "DF"),
];

/// A set of flags; written `-` when empty, else joined by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u32);

impl Flags {
    /// Adds one.
    pub fn set(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u32;
    }

    /// Takes one away.
    pub fn clear(&mut self, flag: Flag) {
        self.0 &= !(1 << flag as u32);
    }

    /// Whether `flag` is set.
    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as a number, for use as a key.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        let mut flags = Self::default();
        flags.set(flag);
        flags
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut first = true;
        for (_, letters) in ALL.iter().filter(|(flag, _)| self.has(*flag)) {
            if !first {
                f.write_str(",")?;
            }
            first = false;
            f.write_str(letters)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_joined_in_order() {
        let mut flags = Flags::default();
        assert_eq!(flags.to_string(), "-");
        flags.set(UpstreamRetryLimitExceeded);
        flags.set(UpstreamConnectionFailure);
        assert_eq!(flags.to_string(), "UF,URX");
        flags.clear(UpstreamConnectionFailure);
        assert_eq!(flags.to_string(), "URX");
    }

    #[test]
    fn the_table_is_in_declaration_order() {
        assert!(ALL.iter().enumerate().all(|(i, (flag, _))| *flag as usize == i));
    }
}
