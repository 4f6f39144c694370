//! The time of day that records carry when their callers name none.
//!
//! Rules this file keeps:
//! - no record costs a clock call that enters the kernel, and none costs an exact one: a batch reads the time when it is
//!   begun, and carries on from there by the kernel's coarse clock (a tick of 4 ms or less), for a third of the price;
//! - on an in-process network the time of day follows tokio's clock, so that a simulation writes the same bytes again.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::cluster::Cluster;

/// Where batches get the time from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    System,
    /// It was `millis` since 1970 at `start`, and time passes as tokio's does.
    Virtual {
        start: Instant,
        millis: i64,
    },
}

/// The clock of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchClock {
    /// Milliseconds since 1970 when the batch was begun.
    pub(super) start: i64,
    since: Since,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Coarse(coarsetime::Instant),
    Virtual(Instant),
}

impl Clock {
    /// The clock of this cluster's producers.
    pub(super) fn of(cluster: &Cluster) -> Self {
        cluster.epoch().map_or(Self::System, |(start, millis)| Self::Virtual { start, millis })
    }

    /// Begins a batch at `now`.
    pub(super) fn begin(self, now: Instant) -> BatchClock {
        match self {
            Self::System => {
                let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                BatchClock { start: today.as_millis() as i64, since: Since::Coarse(coarsetime::Instant::now()) }
            }
            Self::Virtual { start, millis } => {
                let start = millis.saturating_add(now.saturating_duration_since(start).as_millis() as i64);
                BatchClock { start, since: Since::Virtual(now) }
            }
        }
    }
}

impl BatchClock {
    /// Milliseconds since 1970 now.
    pub(super) fn now(&self) -> i64 {
        self.start
            + match self.since {
                Since::Coarse(since) => since.elapsed().as_millis() as i64,
                Since::Virtual(since) => since.elapsed().as_millis() as i64,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_of_day_follows_the_paused_clock() {
        let clock = Clock::Virtual { start: Instant::now(), millis: 1_000_000 };
        tokio::time::advance(Duration::from_millis(250)).await;
        let batch = clock.begin(Instant::now());
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!((batch.start, batch.now()), (1_000_250, 1_000_280));
    }

    #[test]
    fn the_systems_time_of_day_is_today() {
        let batch = Clock::System.begin(Instant::now());
        let today = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        assert!(
            (today - 60_000..=today).contains(&batch.start) && (today - 60_000..=today + 60_000).contains(&batch.now())
        );
    }
}
