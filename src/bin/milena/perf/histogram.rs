//! Times, counted in classes that are narrow for short times and wider for long ones.
//!
//! Rules this file keeps:
//! - a time is reported at most 1/64 too long and never too short; the longest one is kept as it was;
//! - counting one neither allocates nor compares with others.

use std::time::Duration;

/// How many times fell into each class. A power of two of nanoseconds has 64 classes of one width.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; class(u64::MAX) + 1], count: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub(super) fn count(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[class(nanos)] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// The time within which this share of all stayed: 0.5 for the median. Zero if nothing was counted.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        class.map_or(Duration::ZERO, |class| Duration::from_nanos(longest_of(class)).min(self.longest))
    }

    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

/// Below 128 every number is a class; above, the six bits behind the leading one tell.
fn class(nanos: u64) -> usize {
    if nanos < 2 * CLASSES {
        return nanos as usize;
    }
    let shift = u64::from(nanos.ilog2()) - CLASS_BITS;
    (shift * CLASSES + (nanos >> shift)) as usize
}

/// The longest time of a class.
fn longest_of(class: usize) -> u64 {
    let class = class as u64;
    if class < 2 * CLASSES {
        return class;
    }
    let (shift, leading) = (class / CLASSES - 1, class % CLASSES + CLASSES);
    (((u128::from(leading) + 1) << shift) - 1) as u64
}

const CLASS_BITS: u64 = 6;
const CLASSES: u64 = 1 << CLASS_BITS;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, class, longest_of};

    #[test]
    fn a_class_holds_what_it_says() {
        let edges =
            (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) + (1 << bit) / 3, u64::MAX >> bit]);
        for nanos in (0..3000).chain(edges) {
            let longest = longest_of(class(nanos));
            assert!(longest >= nanos && longest - nanos <= nanos / 64, "{nanos}: {longest}");
            assert!(longest == u64::MAX || class(longest + 1) == class(nanos) + 1, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_times() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(0.5), Duration::ZERO);
        (1..=1000).rev().for_each(|micros| times.count(Duration::from_micros(micros)));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (0.001, 1.0)] {
            let reported = times.quantile(share).as_secs_f64() * 1e6;
            assert!((micros..=micros * 65.0 / 64.0).contains(&reported), "{share}: {reported}");
        }
        assert_eq!((times.quantile(1.0), times.longest()), (Duration::from_millis(1), Duration::from_millis(1)));
    }
}
