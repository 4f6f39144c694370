//! What became of every record, from what the producer was told and what stands in the log.
//!
//! Rules this file keeps:
//! - the log decides: an acknowledgement is a promise to be checked, a failure is none;
//! - order is that of the values within a partition, which one producer counts up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// A place in the topic: partition and offset.
pub type Place = (i32, i64);

/// What the producer was told of its records, whose values are the numbers from 0.
#[derive(Debug, Default)]
pub struct Told {
    /// How many records were sent.
    pub sent: u64,
    /// Which were acknowledged, and where they are said to stand (offset −1: not said).
    pub acked: BTreeMap<u64, Place>,
    /// Which were reported as failed.
    pub failed: BTreeSet<u64>,
    /// The longest time between two acknowledgements.
    pub stall_max: Duration,
}

/// The judgement. Prints as the one line that scripts read, without the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Records that were acknowledged.
    pub acked: usize,
    /// Acknowledged, but nowhere in the log.
    pub lost: usize,
    /// In the log more often than once: how many copies too many.
    pub dup: usize,
    /// Behind a later record of the same partition.
    pub reorder: usize,
    /// Acknowledged at a place where another record stands.
    pub misplaced: usize,
    /// Reported as failed; that they stand in the log all the same is allowed.
    pub failed: usize,
    /// Neither acknowledged nor failed when the producer was closed.
    pub unresolved: usize,
    /// In the log, but not among what was sent: of a transaction that was aborted.
    pub foreign: usize,
    /// The longest time between two acknowledgements.
    pub stall_max: Duration,
}

impl Verdict {
    /// Judges by the log, whole.
    pub fn of(told: &Told, log: &BTreeMap<Place, u64>) -> Self {
        let mut copies: BTreeMap<u64, usize> = BTreeMap::new();
        for value in log.values() {
            *copies.entry(*value).or_default() += 1;
        }
        let stands = |value: &u64| copies.contains_key(value);
        let elsewhere =
            |(value, place): &(&u64, &Place)| stands(value) && place.1 >= 0 && log.get(place) != Some(*value);
        Self {
            acked: told.acked.len(),
            lost: told.acked.keys().filter(|value| !stands(value)).count(),
            dup: copies.values().map(|copies| copies - 1).sum(),
            reorder: disorder(log, |value| copies.get(&value).is_some_and(|copies| *copies > 1)),
            misplaced: told.acked.iter().filter(elsewhere).count(),
            failed: told.failed.len(),
            unresolved: (told.sent as usize).saturating_sub(told.acked.len() + told.failed.len()),
            foreign: copies.keys().filter(|value| **value >= told.sent).count(),
            stall_max: told.stall_max,
        }
    }

    /// Whether every promise was kept.
    pub fn is_pass(&self) -> bool {
        let broken = [self.lost, self.dup, self.reorder, self.misplaced, self.unresolved, self.foreign];
        self.acked > 0 && broken.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, lost, dup, reorder, misplaced, failed, unresolved, foreign, stall_max } = self;
        write!(f, "acked={acked} lost={lost} dup={dup} reorder={reorder} stall_max={:.1}", stall_max.as_secs_f64())?;
        write!(f, " misplaced={misplaced} failed={failed} unresolved={unresolved} foreign={foreign}")?;
        write!(f, " verdict={}", if self.is_pass() { "PASS" } else { "FAIL" })
    }
}

/// How many records stand behind a later one of their partition; copies are counted as such, not here.
fn disorder(log: &BTreeMap<Place, u64>, is_copy: impl Fn(u64) -> bool) -> usize {
    let mut highest: BTreeMap<i32, u64> = BTreeMap::new();
    let mut count = 0;
    for ((partition, _), value) in log.iter().filter(|(_, value)| !is_copy(**value)) {
        let before = highest.entry(*partition).or_insert(*value);
        count += usize::from(*value < *before);
        *before = (*before).max(*value);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [(Place, u64); 4] = [((0, 0), 0), ((0, 1), 2), ((1, 0), 1), ((1, 1), 3)];

    fn judged(change: impl FnOnce(&mut Told, &mut BTreeMap<Place, u64>)) -> Verdict {
        let mut log = BTreeMap::from(LOG);
        let acked = LOG.iter().map(|(place, value)| (*value, *place)).collect();
        let mut told = Told { sent: 4, acked, ..Told::default() };
        change(&mut told, &mut log);
        Verdict::of(&told, &log)
    }

    #[test]
    fn each_broken_promise_is_seen_and_no_other() {
        let kept = Verdict { acked: 4, ..Verdict::default() };
        assert_eq!((judged(|_, _| ()), kept.is_pass()), (kept, true));
        type Change = fn(&mut Told, &mut BTreeMap<Place, u64>);
        let swap: Change = |told, log| {
            log.insert((0, 0), 2);
            log.insert((0, 1), 0);
            told.acked = BTreeMap::from([(1, (1, 0)), (3, (1, 1))]);
        };
        let broken: [(Change, Verdict); 6] = [
            (|_, log| log.retain(|place, _| *place != (0, 1)), Verdict { lost: 1, ..kept }),
            (|_, log| log.extend([((1, 2), 1)]), Verdict { dup: 1, ..kept }),
            (swap, Verdict { reorder: 1, acked: 2, unresolved: 2, ..kept }),
            (|told, _| told.acked.extend([(0, (1, 1))]), Verdict { misplaced: 1, ..kept }),
            (|told, _| told.sent = 5, Verdict { unresolved: 1, ..kept }),
            (|_, log| log.extend([((1, 2), 4)]), Verdict { foreign: 1, ..kept }),
        ];
        for (change, expected) in broken {
            let verdict = judged(change);
            assert_eq!(verdict, expected);
            assert!(!verdict.is_pass(), "{verdict}");
        }
    }

    #[test]
    fn what_failed_may_stand_in_the_log_or_not_and_an_offset_may_be_unknown() {
        let fates = judged(|told, log| {
            for value in [0, 1] {
                told.acked.remove(&value);
                told.failed.insert(value);
            }
            log.remove(&(1, 0));
            told.acked.insert(2, (0, -1));
        });
        assert_eq!(fates, Verdict { acked: 2, failed: 2, ..Verdict::default() });
        assert!(fates.is_pass());
    }

    #[test]
    fn a_run_that_acknowledged_nothing_proves_nothing() {
        assert!(!Verdict::of(&Told::default(), &BTreeMap::new()).is_pass());
    }
}
