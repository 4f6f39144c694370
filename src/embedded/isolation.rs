//! What of a partition's log is decided: open transactions, the last stable offset, aborted transactions.
//!
//! Rules this file keeps:
//! - the last stable offset is where the oldest open transaction begins, or the end of the log without one;
//! - an aborted transaction is remembered for as long as its marker stands in the log: its records may be there too.

use std::collections::{BTreeSet, VecDeque};

/// The transactions of one partition.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// The first offsets of the open transactions.
    open: BTreeSet<i64>,
    /// By the order of their markers, as Kafka's index has them.
    aborted: VecDeque<Aborted>,
}

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    /// The offset of its marker.
    pub(super) last_offset: i64,
    /// The last stable offset when the marker had been written.
    pub(super) last_stable_offset: i64,
}

impl Isolation {
    /// The first offset that a reader of committed records may not see.
    pub(super) fn last_stable_offset(&self, end_offset: i64) -> i64 {
        self.open.first().copied().unwrap_or(end_offset)
    }

    pub(super) fn open(&mut self, first_offset: i64) {
        self.open.insert(first_offset);
    }

    /// Ends the transaction that began at `first_offset`, without a word about how.
    pub(super) fn end(&mut self, first_offset: i64) {
        self.open.remove(&first_offset);
    }

    /// Ends a transaction by its abort marker at `last_offset`, which is the last one of the log.
    pub(super) fn abort(&mut self, producer_id: i64, first_offset: i64, last_offset: i64) {
        self.end(first_offset);
        let last_stable_offset = self.last_stable_offset(last_offset + 1);
        self.aborted.push_back(Aborted { producer_id, first_offset, last_offset, last_stable_offset });
    }

    /// The aborted transactions with anything from `from` on and before `to`.
    pub(super) fn aborted_in(&self, from: i64, to: i64) -> Vec<Aborted> {
        let passed = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in self.aborted.range(passed..) {
            if aborted.first_offset < to {
                found.push(*aborted);
            }
            // Whatever was aborted later began at or after this offset.
            if aborted.last_stable_offset >= to {
                break;
            }
        }
        found
    }

    /// Forgets what the log lost from its new end on. What is left of a transaction whose abort marker is lost stays
    /// aborted: its coordinator will not end it once more.
    pub(super) fn truncate(&mut self, end_offset: i64) {
        self.open.retain(|first_offset| *first_offset < end_offset);
        self.aborted.retain(|aborted| aborted.first_offset < end_offset);
        for aborted in self.aborted.iter_mut().filter(|aborted| aborted.last_offset >= end_offset) {
            aborted.last_offset = end_offset - 1;
            aborted.last_stable_offset = aborted.last_stable_offset.min(end_offset);
        }
    }

    /// Forgets what stands before the new start of the log.
    pub(super) fn trim(&mut self, start_offset: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start_offset);
        self.aborted.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Producer 1 writes 0, 10 (abort marker 20); producer 2 writes 5 (abort marker 30); producer 3 opens at 40.
    fn story() -> Isolation {
        let mut isolation = Isolation::default();
        isolation.open(0);
        isolation.open(5);
        assert_eq!(isolation.last_stable_offset(20), 0);
        isolation.abort(1, 0, 20);
        assert_eq!(isolation.last_stable_offset(21), 5, "the other one is open");
        isolation.abort(2, 5, 30);
        assert_eq!(isolation.last_stable_offset(31), 31);
        isolation.open(40);
        isolation
    }

    #[test]
    fn the_oldest_open_transaction_holds_everything_back() {
        let mut isolation = story();
        assert_eq!(isolation.last_stable_offset(50), 40);
        isolation.open(45);
        isolation.end(40);
        assert_eq!(isolation.last_stable_offset(50), 45);
        isolation.end(45);
        assert_eq!(isolation.last_stable_offset(50), 50);
    }

    #[test]
    fn only_aborted_transactions_that_reach_into_the_range_are_told() {
        let isolation = story();
        let table: &[(i64, i64, &[i64])] = &[
            (0, 50, &[1, 2]),
            (0, 5, &[1]),
            (0, 6, &[1, 2]),
            (20, 50, &[1, 2]),
            (21, 50, &[2]),
            (31, 50, &[]),
            (0, 0, &[]),
        ];
        for (from, to, expected) in table {
            let told: Vec<i64> = isolation.aborted_in(*from, *to).iter().map(|aborted| aborted.producer_id).collect();
            assert_eq!(told, *expected, "{from}..{to}");
        }
    }

    #[test]
    fn what_a_lost_marker_leaves_of_an_aborted_transaction_stays_aborted() {
        let mut isolation = story();
        isolation.truncate(25);
        assert_eq!(isolation.last_stable_offset(25), 25, "what was open is lost");
        let left: Vec<_> = isolation.aborted_in(0, 25).iter().map(|it| (it.producer_id, it.last_offset)).collect();
        assert_eq!(left, [(1, 20), (2, 24)]);
        isolation.truncate(5);
        assert_eq!(isolation.aborted_in(0, 5).len(), 1, "the second one is lost whole");
    }

    #[test]
    fn an_aborted_transaction_is_forgotten_with_its_marker() {
        let mut isolation = story();
        isolation.trim(20);
        assert_eq!(isolation.aborted.len(), 2);
        isolation.trim(21);
        assert_eq!(isolation.aborted.len(), 1);
        isolation.trim(31);
        assert_eq!(isolation.aborted.len(), 0);
    }
}
