//! How often which value came, in bounded memory: log-linear buckets, sixteen to each power of two.
//!
//! Rules this file keeps:
//! - recording is a few relaxed additions, without a lock and without allocating;
//! - a quantile is at most a sixteenth above the true value, and never above the largest value seen;
//! - a snapshot holds only the buckets in which there is something.

use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How often which value came: what [`ProducerMetrics`](super::ProducerMetrics) says of times and sizes.
///
/// It counts since the producer was started; [`since`](Self::since) takes out what an earlier snapshot had already.
/// Quantiles are upper bounds, at most 6.25 % (for times, or a microsecond) above the true value.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T> {
    /// Bucket and count, where there is any.
    buckets: Vec<(u16, u64)>,
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
        bucket.map(|(bucket, _)| T::from_raw(upper_bound(*bucket).min(self.max)))
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
        self.buckets.iter().map(|(bucket, count)| (T::from_raw(upper_bound(*bucket)), *count))
    }

    /// What came after an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.buckets.iter().peekable();
        let mut buckets = Vec::new();
        for (bucket, count) in &self.buckets {
            while before.next_if(|(earlier, _)| earlier < bucket).is_some() {}
            let known = before.next_if(|(earlier, _)| earlier == bucket).map_or(0, |(_, count)| *count);
            if *count > known {
                buckets.push((*bucket, count - known));
            }
        }
        let max = buckets.last().map_or(0, |(bucket, _)| upper_bound(*bucket).min(self.max));
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

/// The histogram itself, which values go into.
#[derive(Debug)]
pub(crate) struct Recorder {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        let buckets = std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect();
        Self { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl Recorder {
    pub(crate) fn record(&self, value: u64) {
        if let Some(bucket) = self.buckets.get(usize::from(bucket_of(value))) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
    }

    pub(crate) fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot<T>(&self) -> Histogram<T> {
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<_> = (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let (sum, max) = (self.sum.load(Relaxed), self.max.load(Relaxed));
        Histogram { buckets, count, sum, max, unit: PhantomData }
    }
}

/// The values below 16 have a bucket each; from there on, sixteen share each power of two.
fn bucket_of(value: u64) -> u16 {
    let value = value.min(LARGEST);
    let magnitude = u64::BITS - value.leading_zeros();
    let shift = magnitude.saturating_sub(LINEAR_BITS + 1);
    // At most 16 · 40 + 15: see `BUCKETS`.
    ((u64::from(shift) << LINEAR_BITS) + (value >> shift)) as u16
}

/// The largest value of a bucket.
fn upper_bound(bucket: u16) -> u64 {
    let (row, place) = (u64::from(bucket) >> LINEAR_BITS, u64::from(bucket) & (LINEAR - 1));
    match row.checked_sub(1) {
        None => place,
        Some(shift) => ((LINEAR + place + 1) << shift) - 1,
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::time::Duration {}
    impl Sealed for u64 {}
    impl Sealed for f64 {}
}

const LINEAR_BITS: u32 = 4;
const LINEAR: u64 = 1 << LINEAR_BITS;
/// Larger values count as this one: 203 days of microseconds, or 16 TB.
const LARGEST: u64 = (1 << 44) - 1;
/// 16 values by themselves, and 40 powers of two: 5 KiB.
const BUCKETS: usize = 41 << LINEAR_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_no_gap_and_are_a_sixteenth_wide() {
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKETS - 1);
        assert_eq!(upper_bound(bucket_of(u64::MAX)), LARGEST);
        for bucket in 0..BUCKETS as u16 {
            let top = upper_bound(bucket);
            assert_eq!(bucket_of(top), bucket, "{top}");
            if top < LARGEST {
                assert_eq!(bucket_of(top + 1), bucket + 1, "{top}");
            }
        }
        for value in [17, 1_000, 123_456_789, 1 << 43] {
            let top = upper_bound(bucket_of(value));
            assert!((value..=value + value / 16).contains(&top), "{value}: {top}");
        }
    }

    #[test]
    fn quantiles_of_known_values() {
        let recorder = Recorder::default();
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
        let recorder = Recorder::default();
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
