//! Sets of completion indexes, written as `1,3-5`.

use std::collections::BTreeSet;

/// Indexes in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i64>);

impl Indexes {
    /// Read `1,3-5`; what can't be read, and what is at or beyond `limit`, is left out.
    #[must_use]
    pub fn parse(text: &str, limit: i64) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
                all.extend(first.max(0)..=last.min(limit - 1));
            }
        }
        Self(all)
    }

    /// Add one; answers whether it is new.
    pub fn insert(&mut self, index: i64) -> bool {
        self.0.insert(index)
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, index: i64) -> bool {
        self.0.contains(&index)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    /// How many there are in both.
    #[must_use]
    pub fn shared(&self, other: &Self) -> i64 {
        i64::try_from(self.0.intersection(&other.0).count()).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<(i64, i64)> = Vec::new();
        for index in &self.0 {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == *index => *last = *index,
                _ => parts.push((*index, *index)),
            }
        }
        let shown = parts.iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
        f.write_str(&shown.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_written_short() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8", "2-40"] {
            assert_eq!(Indexes::parse(text, 100).to_string(), text);
        }
        assert_eq!(Indexes::parse("1,x,90-200", 92).to_string(), "1,90,91");
        assert_eq!(Indexes::parse("0-3", 9).shared(&Indexes::parse("2-8", 9)), 2);
    }
}
