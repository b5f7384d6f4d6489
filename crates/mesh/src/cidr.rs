//! Address ranges.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not an address range.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is neither an address nor a range; write for example 10.0.0.1 or 10.0.0.0/8")]
pub struct NotACidr(String);

/// An address range without host bits; a single address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Reads `address` or `address/prefix`; host bits are cleared.
    pub fn parse(text: &str) -> Result<Self, NotACidr> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(|net| Self(net.trunc()))
            .map_err(|_| NotACidr(text.to_owned()))
    }

    /// Is `address` in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// First address.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// Number of leading bits that are fixed.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Is it a single address.
    pub fn is_single(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { write!(f, "{}", self.0.addr()) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_without_host_bits() {
        for (text, expect) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3"), ("fe80::1", "fe80::1"), ("::1/0", "::/0")]
        {
            assert_eq!(Cidr::parse(text).map(|c| c.to_string()), Ok(expect.to_owned()), "{text}");
        }
        assert!(Cidr::parse("10.0.0.0/33").is_err());
    }

    #[test]
    fn addresses_are_found_in_ranges() {
        let range = Cidr::parse("10.0.0.0/8").expect("reads");
        assert!(range.contains("10.9.9.9".parse().expect("address")));
        assert!(!range.contains("11.0.0.0".parse().expect("address")));
    }
}
