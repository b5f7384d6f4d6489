//! Command lines as Go's `flag` package reads them: one dash or two, the value after `=` or as the next word.

use std::fmt;

/// Why a command line can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A word where a flag should be.
    Word(String),
    /// A flag at the end that should have a value.
    NoValue(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Word(word) => write!(f, "Too many arguments! ({word})"),
            Refused::NoValue(name) => write!(f, "flag needs an argument: -{name}"),
        }
    }
}

/// The flags of a command line in order, with their values; `switches` have none unless it comes after `=`.
pub(crate) fn read<'a>(args: &'a [String], switches: &[&str]) -> Result<Vec<(&'a str, &'a str)>, Refused> {
    let mut flags = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let flag = flag.ok_or_else(|| Refused::Word(word.clone()))?;
        flags.push(match flag.split_once('=') {
            Some(pair) => pair,
            None if switches.contains(&flag) => (flag, ""),
            None => (flag, words.next().ok_or_else(|| Refused::NoValue(flag.to_owned()))?.as_str()),
        });
    }
    Ok(flags)
}
