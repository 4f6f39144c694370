//! What the cluster does by itself when a time has come: one list of deadlines and one task for all of it.
//!
//! Rules this file keeps:
//! - a timer says only who is to look at its own deadlines; whoever is woken too early does nothing;
//! - the task holds no lock while it wakes somebody; a defect in whoever it wakes stops nobody else.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::Shared;

/// Who looks at its deadlines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The group of this id: sessions, rebalances.
    Group(String),
    /// The transactional id: a transaction that takes too long.
    Transaction(String),
    /// All logs: retention by time, compaction.
    Retention,
}

/// The deadlines of a cluster.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: Mutex<BTreeSet<(Instant, Timer)>>,
    sooner: Notify,
}

impl Timers {
    /// Wakes `timer` at `at`. It may be set several times.
    pub(super) fn set(&self, at: Instant, timer: Timer) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let first = due.first().is_none_or(|(first, _)| at < *first);
        due.insert((at, timer));
        drop(due);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Forgets one that was set, if it is not due yet.
    pub(super) fn cancel(&self, at: Instant, timer: Timer) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(&(at, timer));
    }

    /// How many timers of groups are set.
    #[cfg(test)]
    pub(super) fn of_groups(&self) -> usize {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.iter().filter(|(_, timer)| matches!(timer, Timer::Group(_))).count()
    }

    /// What is due now, or when something will be.
    fn next(&self, now: Instant) -> Result<Timer, Option<Instant>> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        match due.first() {
            Some((at, _)) if *at > now => Err(Some(*at)),
            _ => due.pop_first().map(|(_, timer)| timer).ok_or(None),
        }
    }
}

/// Wakes whoever is due. Never ends: the cluster aborts it.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let now = Instant::now();
        match shared.timers.next(now) {
            Ok(timer) => {
                let handled = catch_unwind(AssertUnwindSafe(|| shared.handle_timer(timer.clone(), now)));
                if handled.is_err() {
                    tracing::error!(?timer, "handling a timer panicked");
                }
            }
            Err(until) => {
                let sooner = shared.timers.sooner.notified();
                tokio::select! {
                    // A nearer deadline first: the one that is slept for may be far.
                    biased;
                    () = sooner => {}
                    () = sleep_until(until.unwrap_or(now)), if until.is_some() => {}
                }
            }
        }
    }
}
