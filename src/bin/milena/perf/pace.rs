//! A steady rate, for `milena perf latency` and the Rust drivers of `benches/peers`.
//!
//! Rules this file keeps:
//! - a thread of its own keeps the time and wakes the sender: tokio's timers fire on whole milliseconds, and at 10,000
//!   records a second ten would leave together;
//! - what is due is reckoned from the beginning: whoever woke up late sends all that is due, so that the rate holds.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Says when records are due, from the moment it is made. Its thread ends with it, or with the last record.
#[derive(Debug)]
pub(super) struct Pace(Arc<Due>);

#[derive(Debug, Default)]
struct Due {
    /// How many records are due by now, those before included.
    records: AtomicU64,
    more: Notify,
}

impl Pace {
    pub(super) fn start(rate: u64, count: u64) -> Self {
        let due = Arc::new(Due::default());
        let shared = Arc::downgrade(&due);
        thread::spawn(move || keep(&shared, rate, count));
        Self(due)
    }

    /// Waits until more records are due than were sent, and tells how many.
    pub(super) async fn beyond(&self, sent: u64) -> u64 {
        loop {
            let due = self.0.records.load(Relaxed);
            if due > sent {
                return due;
            }
            self.0.more.notified().await;
        }
    }
}

/// The thread: sleeps until the next record is due, and says so.
fn keep(shared: &Weak<Due>, rate: u64, count: u64) {
    let begun = Instant::now();
    loop {
        let due = due_at(begun.elapsed(), rate).min(count);
        let Some(shared) = shared.upgrade() else { return };
        shared.records.store(due, Relaxed);
        shared.more.notify_one();
        drop(shared);
        if due == count {
            return;
        }
        let next = Duration::from_secs_f64(due as f64 / rate as f64);
        // Linux wakes a thread some 60 microseconds late, every time: that shifts the records, and not their distances.
        thread::sleep(next.saturating_sub(begun.elapsed()));
    }
}

/// The first record is due at once.
fn due_at(elapsed: Duration, rate: u64) -> u64 {
    (elapsed.as_secs_f64() * rate as f64) as u64 + 1
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Pace, due_at};

    #[test]
    fn records_are_due_one_after_the_other() {
        let table = [(0, 1), (99, 1), (101, 2), (999, 10), (1_001, 11), (1_000_050, 10_001)];
        for (micros, due) in table {
            assert_eq!(due_at(Duration::from_micros(micros), 10_000), due, "{micros}");
        }
    }

    #[tokio::test]
    async fn nothing_is_due_early_and_in_the_end_all_is() {
        let (rate, count) = (5_000, 500);
        let begun = Instant::now();
        let pace = Pace::start(rate, count);
        let mut sent = 0;
        while sent < count {
            let due = pace.beyond(sent).await;
            assert!(sent < due && due <= due_at(begun.elapsed(), rate).min(count), "{due} after {:?}", begun.elapsed());
            sent = due;
        }
        assert!(begun.elapsed() >= Duration::from_micros(99_799), "too fast: {:?}", begun.elapsed());
    }
}
