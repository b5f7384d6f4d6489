//! Fractions of requests.

/// How many out of a million requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction(u32);

const MILLION: u32 = 1_000_000;

impl Fraction {
    /// Every request.
    pub const ALL: Self = Self(MILLION);
    /// No request.
    pub const NONE: Self = Self(0);

    /// `numerator` out of `denominator` (100, 10,000 or 1,000,000), capped at every request.
    pub fn new(numerator: u32, denominator: u32) -> Self {
        let scaled = u64::from(numerator) * u64::from(MILLION) / u64::from(denominator.max(1));
        Self(scaled.min(u64::from(MILLION)) as u32)
    }

    /// Whether a request with the random number `random` is one of them.
    pub fn hits(self, random: u64) -> bool {
        random % u64::from(MILLION) < u64::from(self.0)
    }

    /// Parts per million.
    pub fn per_million(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_scale_and_cap() {
        assert_eq!(Fraction::new(50, 100).per_million(), 500_000);
        assert_eq!(Fraction::new(300, 100), Fraction::ALL);
        assert!(!Fraction::NONE.hits(0));
        assert!(Fraction::ALL.hits(u64::MAX));
        assert!(Fraction::new(1, 100).hits(9_999));
        assert!(!Fraction::new(1, 100).hits(10_000));
    }
}
