//! Histograms with the bounds that Istio's dashboards know.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds, in milliseconds or bytes; the first is 0.5.
pub(super) const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Counts by bucket, and the sum in thousandths.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    thousandths: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, value: f64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.thousandths.fetch_add((value * 1000.0) as u64, Relaxed);
    }
}

/// The sum of histograms.
#[derive(Clone, Debug, Default)]
pub(super) struct HistogramSum {
    buckets: [u64; BUCKETS],
    thousandths: u64,
}

impl HistogramSum {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.thousandths += histogram.thousandths.load(Relaxed);
    }

    /// Bounds with how many values were at most that.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut total = 0;
        BOUNDS.iter().zip(&self.buckets).map(move |(bound, count)| {
            total += count;
            (*bound, total)
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn sum(&self) -> f64 {
        self.thousandths as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it() {
        let histogram = Histogram::default();
        for value in [0.2, 1.0, 1.1, 5_000_000.0] {
            histogram.observe(value);
        }
        let mut sum = HistogramSum::default();
        sum.add(&histogram);
        let counts: Vec<u64> = sum.cumulative().map(|(_, count)| count).collect();
        assert_eq!(&counts[..4], [1, 2, 3, 3]);
        assert_eq!((counts[18], sum.count()), (3, 4));
        assert_eq!(sum.sum(), 5_000_002.3);
    }
}
