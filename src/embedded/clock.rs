//! The time of day as the cluster knows it: what it writes where Kafka writes a broker's clock.
//!
//! Rules this file keeps: the system's clock is read once, at the start; what follows is tokio's clock, so that a
//! cluster on paused time has a time of day that stands still with it.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    start_millis: i64,
}

impl Clock {
    /// A clock that shows `millis` now, or what the system's shows.
    pub(super) fn new(millis: Option<i64>) -> Self {
        let today = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        Self { start: Instant::now(), start_millis: millis.unwrap_or_else(today) }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_millis(&self) -> i64 {
        self.start_millis.saturating_add(self.start.elapsed().as_millis() as i64)
    }
}
