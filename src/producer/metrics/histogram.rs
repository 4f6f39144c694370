//! How often which value came, in bounded memory: log-linear buckets, sixteen to each power of two or more.
//!
//! Rules this file keeps:
//! - recording is a few relaxed additions, without a lock and without allocating;
//! - a quantile is at most the width of a bucket above the true value, and never above the largest value seen;
//! - a snapshot holds only the buckets in which there is something;
//! - it needs nothing else of milena: the drivers of `benches/peers` are compiled with this very file.

use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How often which value came: what `ProducerMetrics` says of times and sizes.
///
/// It counts since the producer was started; [`since`](Self::since) takes out what an earlier snapshot had already.
/// Quantiles are upper bounds, at most 6.25 % (for times, or a microsecond) above the true value.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T> {
    /// The largest value of a bucket, and how many fell into it, where there are any.
    buckets: Vec<(u64, u64)>,
    count: u64,
    sum: u64,
    max: u64,
    unit: PhantomData<T>,
}

/// What a histogram counts: `Duration` (in microseconds), `u64`, or `f64` (in thousandths).
pub trait Unit: sealed::Sealed + Sized {
    #[doc(hidden)]
    fn from_raw(raw: u64) -> Self;
}

impl<T: Unit> Histogram<T> {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values together.
    pub fn sum(&self) -> T {
        T::from_raw(self.sum)
    }

    /// The average; `None` without values.
    pub fn mean(&self) -> Option<T> {
        self.sum.checked_div(self.count).map(T::from_raw)
    }

    /// The largest value; `None` without values. After [`since`](Self::since), the upper bound of its bucket.
    pub fn max(&self) -> Option<T> {
        (self.count > 0).then(|| T::from_raw(self.max))
    }

    /// The value that so large a part of all values does not exceed: 0.5 is the median. `None` without values.
    pub fn quantile(&self, part: f64) -> Option<T> {
        let rank = (part.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        bucket.map(|(top, _)| T::from_raw((*top).min(self.max)))
    }

    /// The median.
    pub fn p50(&self) -> Option<T> {
        self.quantile(0.5)
    }

    /// What one value in a hundred exceeds.
    pub fn p99(&self) -> Option<T> {
        self.quantile(0.99)
    }

    /// What one value in a thousand exceeds.
    pub fn p999(&self) -> Option<T> {
        self.quantile(0.999)
    }

    /// The buckets that are not empty, from small to large: the largest value that falls into it, and how many did. For
    /// exporters that keep histograms of their own.
    pub fn buckets(&self) -> impl Iterator<Item = (T, u64)> {
        self.buckets.iter().map(|(top, count)| (T::from_raw(*top), *count))
    }

    /// What came after an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.buckets.iter().peekable();
        let mut buckets = Vec::new();
        for (top, count) in &self.buckets {
            while before.next_if(|(earlier, _)| earlier < top).is_some() {}
            let known = before.next_if(|(earlier, _)| earlier == top).map_or(0, |(_, count)| *count);
            if *count > known {
                buckets.push((*top, count - known));
            }
        }
        let max = buckets.last().map_or(0, |(top, _)| (*top).min(self.max));
        let count = buckets.iter().map(|(_, count)| count).sum();
        Self { buckets, count, sum: self.sum.saturating_sub(earlier.sum), max, unit: PhantomData }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self { buckets: Vec::new(), count: 0, sum: 0, max: 0, unit: PhantomData }
    }
}

impl<T: Unit + fmt::Debug> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Histogram");
        it.field("count", &self.count);
        if let (Some(p50), Some(p99), Some(p999), Some(max)) = (self.p50(), self.p99(), self.p999(), self.max()) {
            it.field("p50", &p50).field("p99", &p99).field("p999", &p999).field("max", &max);
        }
        it.finish()
    }
}

impl Unit for Duration {
    fn from_raw(raw: u64) -> Self {
        Self::from_micros(raw)
    }
}

impl Unit for u64 {
    fn from_raw(raw: u64) -> Self {
        raw
    }
}

impl Unit for f64 {
    fn from_raw(raw: u64) -> Self {
        raw as Self / 1000.0
    }
}

/// The histogram itself, which values go into. A power of two has 2<sup>`BITS`</sup> buckets, so that with the 4 of the
/// producer's own figures a value is told at most 6.25 % too large, and it takes 5 KiB.
#[derive(Debug)]
pub struct Recorder<const BITS: u32 = 4> {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl<const BITS: u32> Default for Recorder<BITS> {
    fn default() -> Self {
        let buckets = std::iter::repeat_with(AtomicU64::default).take(Self::BUCKETS).collect();
        Self { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl<const BITS: u32> Recorder<BITS> {
    /// The values below 2<sup>`BITS`</sup> by themselves, and the powers of two up to the largest value.
    const BUCKETS: usize = ((LARGEST_BITS - BITS + 1) as usize) << BITS;

    /// Counts a value.
    pub fn record(&self, value: u64) {
        if let Some(bucket) = self.buckets.get(Self::bucket_of(value)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
    }

    /// What was counted until now.
    pub fn snapshot<T>(&self) -> Histogram<T> {
        let counts = self.buckets.iter().map(|count| count.load(Relaxed)).enumerate();
        let filled = counts.filter(|(_, count)| *count > 0);
        let buckets: Vec<_> = filled.map(|(bucket, count)| (Self::upper_bound(bucket), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let (sum, max) = (self.sum.load(Relaxed), self.max.load(Relaxed));
        Histogram { buckets, count, sum, max, unit: PhantomData }
    }

    /// The smallest values have a bucket each; from there on, 2<sup>`BITS`</sup> share each power of two.
    fn bucket_of(value: u64) -> usize {
        let value = value.min(LARGEST);
        let magnitude = u64::BITS - value.leading_zeros();
        let shift = magnitude.saturating_sub(BITS + 1);
        ((shift as usize) << BITS) + (value >> shift) as usize
    }

    /// The largest value of a bucket.
    fn upper_bound(bucket: usize) -> u64 {
        let (row, place) = (bucket as u64 >> BITS, bucket as u64 & ((1 << BITS) - 1));
        match row.checked_sub(1) {
            None => place,
            Some(shift) => (((1 << BITS) + place + 1) << shift) - 1,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::time::Duration {}
    impl Sealed for u64 {}
    impl Sealed for f64 {}
}

const LARGEST_BITS: u32 = 44;
/// Larger values count as this one: 203 days of microseconds, or 16 TB.
const LARGEST: u64 = (1 << LARGEST_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_no_gap_and_are_as_wide_as_they_say() {
        no_gap::<4>();
        no_gap::<6>();
        assert_eq!(size_of_val(&*Recorder::<4>::default().buckets), 41 << 7, "as the documentation says");
    }

    fn no_gap<const BITS: u32>() {
        let (bucket_of, top_of) = (Recorder::<BITS>::bucket_of, Recorder::<BITS>::upper_bound);
        assert_eq!(bucket_of(u64::MAX), Recorder::<BITS>::BUCKETS - 1);
        assert_eq!(top_of(bucket_of(u64::MAX)), LARGEST);
        for bucket in 0..Recorder::<BITS>::BUCKETS {
            let top = top_of(bucket);
            assert_eq!(bucket_of(top), bucket, "{top}");
            assert!(top == LARGEST || bucket_of(top + 1) == bucket + 1, "{top}");
        }
        for value in (0..3000).chain([123_456_789, 1 << 43, (1 << 43) + (1 << 42)]) {
            let top = top_of(bucket_of(value));
            assert!((value..=value + (value >> BITS)).contains(&top), "{value}: {top}");
        }
    }

    #[test]
    fn quantiles_of_known_values() {
        let recorder = Recorder::<4>::default();
        (1..=10_000).for_each(|value| recorder.record(value));
        let histogram: Histogram<u64> = recorder.snapshot();
        assert_eq!((histogram.count(), histogram.mean(), histogram.max()), (10_000, Some(5_000), Some(10_000)));
        for (part, exact) in [(0.0, 1), (0.001, 10), (0.5, 5_000), (0.99, 9_900), (0.999, 9_990), (1.0, 10_000)] {
            let found = histogram.quantile(part).expect("there are values");
            assert!((exact..=exact + exact / 16).contains(&found), "{part}: {found}, not {exact}");
        }
        assert_eq!(Histogram::<u64>::default().p99(), None);
    }

    #[test]
    fn what_came_since_is_what_is_new() {
        let recorder = Recorder::<4>::default();
        (0..100).for_each(|_| recorder.record(1_000_000));
        let before: Histogram<Duration> = recorder.snapshot();
        (1..=3).for_each(|value| recorder.record(value));
        let since = recorder.snapshot::<Duration>().since(&before);
        let micros = Duration::from_micros;
        assert_eq!((since.count(), since.sum(), since.max()), (3, micros(6), Some(micros(3))));
        assert_eq!(since.buckets().collect::<Vec<_>>(), [(micros(1), 1), (micros(2), 1), (micros(3), 1)]);
        assert_eq!(before.since(&before), Histogram { sum: 0, ..Histogram::default() });
    }
}
