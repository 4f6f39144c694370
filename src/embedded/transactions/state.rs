//! What a transactional id goes through, and what it answers to its producers.
//!
//! ```text
//!             add                     end                      complete
//!   Empty ───────────► Ongoing ───────────────► Prepared ───────────────► Complete
//!     ▲                   ▲   (client, timeout,    (decided, markers         │ │
//!     │                   │    newer producer)      are being written)       │ │
//!     │                   └──────────────── add ─────────────────────────────┘ │
//!     └──────────────────────────────────── init ──────────────────────────────┘
//! ```
//!
//! Rules this file keeps:
//! - it decides and does nothing else: who calls writes the markers and sets the timers;
//! - an epoch is never given to two producers: whoever interrupts a transaction takes an epoch that nobody gets;
//! - in the second version of transactions (KIP-890) every end raises the epoch, so that nothing late can get into the
//!   next transaction.

use std::{collections::BTreeSet, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::embedded::groups::Charge;

/// A producer id in one of its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct Identity {
    pub(in crate::embedded) producer_id: i64,
    pub(in crate::embedded) epoch: i16,
}

/// A transactional id.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Who may use it now. Its epoch is −1 until the first producer is told.
    pub(super) producer: Identity,
    /// The epoch before, for a producer that has not heard of the newer one; −1 if there is none such.
    last_epoch: i16,
    /// The producer id before the epochs of this one ran out.
    previous_id: Option<i64>,
    pub(super) timeout: Duration,
    pub(super) state: State,
    /// When it was last used.
    pub(super) updated: Instant,
}

#[derive(Debug)]
pub(super) enum State {
    /// A producer has come, and has not begun anything.
    Empty,
    Ongoing(Parts),
    /// Decided. `next_id` takes over when this is over, since the epochs have run out.
    Prepared {
        commit: bool,
        parts: Parts,
        next_id: Option<i64>,
    },
    Complete {
        commit: bool,
        /// When the transaction had begun, in milliseconds since 1970.
        started_millis: i64,
    },
}

/// What a transaction has touched.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) partitions: BTreeSet<(String, i32)>,
    pub(super) groups: BTreeSet<String>,
    pub(super) started: Instant,
    /// The same in milliseconds since 1970.
    pub(super) started_millis: i64,
    _charges: Vec<Charge>,
}

/// The time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) millis: i64,
}

/// What became of a producer's arrival.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It may begin, as this.
    Ready(Identity),
    /// The transaction of the one before has been decided against, and the newcomer has to come again.
    Interrupted,
}

/// What became of the wish to end a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is decided now. The producer goes on as this.
    Decided(Identity),
    /// It was ended the same way before.
    Repeated(Identity),
}

impl Transaction {
    pub(super) fn new(producer_id: i64, timeout: Duration, now: Now) -> Self {
        let producer = Identity { producer_id, epoch: -1 };
        Self { producer, last_epoch: -1, previous_id: None, timeout, state: State::Empty, updated: now.instant }
    }

    /// A producer arrives. `expected` is what it was before, if it was anything (KIP-360); `new_id` gives out ids, and
    /// `second_version` says by which version an interrupted transaction is ended.
    pub(super) fn init(
        &mut self,
        timeout: Duration,
        expected: Option<Identity>,
        second_version: bool,
        mut new_id: impl FnMut() -> i64,
        now: Now,
    ) -> Result<Arrival, ResponseError> {
        if expected.is_some_and(|expected| !self.was(expected)) {
            return Err(ResponseError::ProducerFenced);
        }
        match self.state {
            State::Prepared { .. } => Err(ResponseError::ConcurrentTransactions),
            State::Ongoing(_) => {
                self.interrupt(second_version, new_id, now);
                Ok(Arrival::Interrupted)
            }
            State::Empty | State::Complete { .. } => {
                let current = self.producer.epoch;
                if is_exhausted(current) && expected.is_none_or(|expected| expected.epoch == current) {
                    self.last_epoch = if expected.is_some() { current } else { -1 };
                    self.previous_id = Some(self.producer.producer_id);
                    self.producer = Identity { producer_id: new_id(), epoch: 0 };
                } else {
                    self.next_epoch(expected)?;
                }
                self.timeout = timeout;
                self.state = State::Empty;
                self.updated = now.instant;
                Ok(Arrival::Ready(self.producer))
            }
        }
    }

    /// Whether a producer of this identity may go on here, its epoch apart.
    fn was(&self, expected: Identity) -> bool {
        let rotated = self.previous_id == Some(expected.producer_id) && is_exhausted(expected.epoch);
        self.producer.epoch == -1 || expected.producer_id == self.producer.producer_id || rotated
    }

    fn next_epoch(&mut self, expected: Option<Identity>) -> Result<(), ResponseError> {
        let current = self.producer.epoch;
        match expected {
            None => self.last_epoch = -1,
            Some(expected) if current == -1 || expected.epoch == current => self.last_epoch = current,
            // It asks again, since it did not hear the answer. Nobody else has come in between: that sets −1.
            Some(expected) if expected.epoch == self.last_epoch => return Ok(()),
            Some(_) => return Err(ResponseError::ProducerFenced),
        }
        self.producer.epoch = current.saturating_add(1);
        Ok(())
    }

    /// Takes partitions and a group into the transaction, and begins it if there is none.
    pub(super) fn add(
        &mut self,
        producer: Identity,
        partitions: Vec<(String, i32)>,
        group: Option<String>,
        charge: impl FnOnce(usize) -> Result<Charge, ResponseError>,
        now: Now,
    ) -> Result<(), ResponseError> {
        self.check(producer)?;
        let bytes = partitions.iter().map(|(topic, _)| topic.len() + PART_OVERHEAD).sum::<usize>();
        let bytes = bytes + group.as_ref().map_or(0, |group| group.len() + PART_OVERHEAD);
        match &mut self.state {
            State::Prepared { .. } => return Err(ResponseError::ConcurrentTransactions),
            State::Ongoing(parts) if parts.cover(&partitions, group.as_deref()) => {}
            State::Ongoing(parts) => parts.extend(partitions, group, charge(bytes)?),
            State::Empty | State::Complete { .. } => {
                let mut parts = Parts::new(now);
                parts.extend(partitions, group, charge(bytes)?);
                self.state = State::Ongoing(parts);
            }
        }
        self.updated = now.instant;
        Ok(())
    }

    /// Whether a partition or a group is in the transaction (KIP-890, part 1).
    pub(super) fn verify(
        &self,
        producer: Identity,
        partitions: &[(String, i32)],
        group: Option<&str>,
    ) -> Result<(), ResponseError> {
        self.check(producer)?;
        match &self.state {
            State::Prepared { .. } => Err(ResponseError::ConcurrentTransactions),
            State::Ongoing(parts) if parts.cover(partitions, group) => Ok(()),
            _ => Err(ResponseError::TransactionAbortable),
        }
    }

    fn check(&self, producer: Identity) -> Result<(), ResponseError> {
        match producer {
            _ if self.producer.producer_id != producer.producer_id => Err(ResponseError::InvalidProducerIdMapping),
            _ if self.producer.epoch != producer.epoch => Err(ResponseError::ProducerFenced),
            _ => Ok(()),
        }
    }

    /// A producer wants to end its transaction, by the first version of the protocol.
    pub(super) fn end(&mut self, producer: Identity, commit: bool, now: Now) -> Result<Ending, ResponseError> {
        self.check(producer)?;
        match &self.state {
            State::Ongoing(_) => {
                self.prepare(commit, None, now);
                Ok(Ending::Decided(self.producer))
            }
            State::Complete { commit: was, .. } if *was == commit => Ok(Ending::Repeated(self.producer)),
            State::Prepared { commit: was, .. } if *was == commit => Err(ResponseError::ConcurrentTransactions),
            State::Empty | State::Prepared { .. } | State::Complete { .. } => Err(ResponseError::InvalidTxnState),
        }
    }

    /// A producer wants to end its transaction by the second version (KIP-890, part 2): it goes on in a newer epoch,
    /// and it may abort without having begun anything, if it does not know what the broker has heard of.
    pub(super) fn end_and_bump(
        &mut self,
        producer: Identity,
        commit: bool,
        new_id: impl FnMut() -> i64,
        now: Now,
    ) -> Result<Ending, ResponseError> {
        let overflowed = self.previous_id == Some(producer.producer_id)
            && is_exhausted(producer.epoch)
            && producer.epoch < i16::MAX
            && self.producer.epoch == 0;
        let bumped = producer.epoch.checked_add(1) == Some(self.producer.epoch);
        let current = self.producer.epoch == producer.epoch;
        let repeated = bumped || overflowed;
        if self.producer.producer_id != producer.producer_id && !overflowed {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        let known = match self.state {
            State::Ongoing(_) | State::Empty => current,
            State::Prepared { .. } => bumped,
            State::Complete { .. } => repeated || current,
        };
        match self.state {
            _ if !known => Err(ResponseError::ProducerFenced),
            State::Prepared { commit: was, .. } if was == commit => Err(ResponseError::ConcurrentTransactions),
            State::Complete { commit: was, .. } if repeated && was == commit => Ok(Ending::Repeated(self.producer)),
            State::Ongoing(_) => Ok(self.prepare_and_bump(commit, new_id, now)),
            State::Empty if !commit => Ok(self.prepare_and_bump(false, new_id, now)),
            State::Complete { .. } if !commit && !repeated => Ok(self.prepare_and_bump(false, new_id, now)),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Decides against the transaction under way, in an epoch that no producer has: its own is over. In the second version
    /// this is also the rise of the epoch that every end brings, not one more (KAFKA-19367; 4.0.0 raised it twice).
    pub(super) fn interrupt(&mut self, second_version: bool, new_id: impl FnMut() -> i64, now: Now) {
        let next_id = (second_version && is_exhausted(self.producer.epoch)).then(new_id);
        self.producer.epoch = self.producer.epoch.saturating_add(1);
        self.last_epoch = -1;
        self.prepare(false, next_id, now);
    }

    fn prepare_and_bump(&mut self, commit: bool, mut new_id: impl FnMut() -> i64, now: Now) -> Ending {
        let current = self.producer;
        let next_id = is_exhausted(current.epoch).then(&mut new_id);
        self.last_epoch = current.epoch;
        self.producer.epoch = current.epoch.saturating_add(1);
        self.prepare(commit, next_id, now);
        // The last epoch of an id is for its marker alone.
        let next = next_id.map(|producer_id| Identity { producer_id, epoch: 0 });
        Ending::Decided(next.unwrap_or(self.producer))
    }

    fn prepare(&mut self, commit: bool, next_id: Option<i64>, now: Now) {
        let parts = match std::mem::replace(&mut self.state, State::Empty) {
            State::Ongoing(parts) => parts,
            _ => Parts::new(now),
        };
        self.state = State::Prepared { commit, parts, next_id };
        self.updated = now.instant;
    }

    /// All markers are written.
    pub(super) fn complete(&mut self, now: Now) {
        let State::Prepared { commit, parts, next_id } = &self.state else { return };
        if let Some(producer_id) = *next_id {
            self.previous_id = Some(self.producer.producer_id);
            self.producer = Identity { producer_id, epoch: 0 };
        }
        self.state = State::Complete { commit: *commit, started_millis: parts.started_millis };
        self.updated = now.instant;
    }

    /// Kafka's name for the state, as ListTransactions has it.
    pub(super) fn name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Ongoing(_) => "Ongoing",
            State::Prepared { commit: true, .. } => "PrepareCommit",
            State::Prepared { commit: false, .. } => "PrepareAbort",
            State::Complete { commit: true, .. } => "CompleteCommit",
            State::Complete { commit: false, .. } => "CompleteAbort",
        }
    }

    /// What the transaction under way has touched.
    pub(super) fn parts(&self) -> Option<&Parts> {
        match &self.state {
            State::Ongoing(parts) | State::Prepared { parts, .. } => Some(parts),
            State::Empty | State::Complete { .. } => None,
        }
    }

    /// When the transaction under way has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Ongoing(parts) => Some(parts.started + self.timeout),
            State::Empty | State::Prepared { .. } | State::Complete { .. } => None,
        }
    }

    /// When the last transaction began, in milliseconds since 1970; −1 before the first.
    pub(super) fn started_millis(&self) -> i64 {
        match &self.state {
            State::Complete { started_millis, .. } => *started_millis,
            _ => self.parts().map_or(-1, |parts| parts.started_millis),
        }
    }
}

impl Parts {
    fn new(now: Now) -> Self {
        Self {
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started: now.instant,
            started_millis: now.millis,
            _charges: Vec::new(),
        }
    }

    fn cover(&self, partitions: &[(String, i32)], group: Option<&str>) -> bool {
        partitions.iter().all(|partition| self.partitions.contains(partition))
            && group.is_none_or(|group| self.groups.contains(group))
    }

    fn extend(&mut self, partitions: Vec<(String, i32)>, group: Option<String>, charge: Charge) {
        self.partitions.extend(partitions);
        self.groups.extend(group);
        self._charges.push(charge);
    }
}

/// Whether a producer id has no epoch left that a producer may get. The very last one is for fencing.
fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

/// All names of states; "Dead" and "PrepareEpochFence" are asked for, but nothing here stays in them.
pub(super) const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// What a partition or group in a transaction takes besides its name.
const PART_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests;
