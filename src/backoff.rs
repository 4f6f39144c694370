//! How long to wait before the next try: exponential, with jitter (KIP-144, KIP-580).

use std::time::Duration;

/// A series of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The first wait.
    pub(crate) base: Duration,
    /// No wait is longer, jitter aside.
    pub(crate) max: Duration,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max }
    }

    /// The wait after `failures` failures in a row; `random` in 0..1 spreads it by a fifth to either side, so that
    /// clients that failed together do not come back together.
    pub(crate) fn delay(self, failures: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let spread = doubled.min(self.max).mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0));
        // Zero is allowed (retry.backoff.ms=0) and must not become a loop without rest.
        spread.max(SHORTEST)
    }
}

const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = [1, 2, 3, 4, 5, 1000].map(|failures| backoff.delay(failures, 0.5).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn n7_jitter_spreads_by_a_fifth() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!([0.0, 1.0].map(|random| backoff.delay(1, random).as_millis()), [80, 120]);
    }

    #[test]
    fn no_wait_is_no_wait_at_all() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).delay(1, 0.0), Duration::from_millis(1));
    }
}
