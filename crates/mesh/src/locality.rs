//! Where a workload runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Region, zone and subzone; empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone in the region.
    pub zone: String,
    /// Subzone in the zone.
    pub subzone: String,
}

impl Locality {
    /// Reads `region/zone/subzone`; later parts may be missing.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), subzone: next() }
    }

    /// Reads the value of a label, which cannot hold slashes: `region.zone.subzone`.
    pub fn parse_label(text: &str) -> Self {
        if text.contains('/') { Self::parse(text) } else { Self::parse(&text.replacen('.', "/", 2)) }
    }

    /// How far `other` is: 0 in the same subzone, 1 in the same zone, 2 in the same region, else 3.
    pub fn distance(&self, other: &Locality) -> u32 {
        if self.region != other.region {
            3
        } else if self.zone != other.zone {
            2
        } else {
            u32::from(self.subzone != other.subzone)
        }
    }

    /// Is it in the place that a pattern such as `region/zone/*` describes; parts that are missing are any.
    pub fn is_within(&self, pattern: &str) -> bool {
        let pattern = Self::parse(pattern);
        let fits = |own: &str, wanted: &str| wanted == "*" || own == wanted;
        let open = |wanted: &str| wanted.is_empty();
        fits(&self.region, &pattern.region)
            && (open(&pattern.zone) || fits(&self.zone, &pattern.zone))
            && (open(&pattern.subzone) || fits(&self.subzone, &pattern.subzone))
    }

    /// Is nothing known.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written() {
        for text in ["", "r", "r/z", "r/z/s"] {
            assert_eq!(Locality::parse(text).to_string(), text);
        }
        assert!(Locality::parse("").is_empty());
        assert_eq!(Locality::parse_label("eu.a.1"), Locality::parse("eu/a/1"));
        assert_eq!(Locality::parse_label("eu/a.b"), Locality::parse("eu/a.b"));
    }

    #[test]
    fn distance_and_patterns_go_from_region_to_subzone() {
        let here = Locality::parse("eu/a/1");
        for (other, distance) in [("eu/a/1", 0), ("eu/a/2", 1), ("eu/b/1", 2), ("us/a/1", 3), ("", 3)] {
            assert_eq!(here.distance(&Locality::parse(other)), distance, "{other}");
        }
        for (pattern, within) in
            [("eu", true), ("eu/*", true), ("eu/a/*", true), ("*", true), ("eu/b", false), ("us/*", false)]
        {
            assert_eq!(here.is_within(pattern), within, "{pattern}");
        }
    }
}
