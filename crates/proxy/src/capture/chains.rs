//! Chains while rules are being added to them.

use lateen_nft::{Chain, Rule};

/// The chains of one table, in their final order.
pub(super) struct Chains(Vec<Chain>);

impl Chains {
    pub(super) fn new(chains: impl IntoIterator<Item = Chain>) -> Chains {
        Chains(chains.into_iter().collect())
    }

    pub(super) fn add(&mut self, chain: &str, rule: impl Into<Rule>) {
        self.insert(chain, usize::MAX, rule);
    }

    pub(super) fn insert(&mut self, chain: &str, index: usize, rule: impl Into<Rule>) {
        if let Some(chain) = self.0.iter_mut().find(|c| c.name == chain) {
            chain.insert(index, rule);
        }
    }

    /// The chains that got rules.
    pub(super) fn finish(self) -> Vec<Chain> {
        self.0.into_iter().filter(|c| !c.rules.is_empty()).collect()
    }
}
