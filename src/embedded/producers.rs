//! What a partition remembers about producers with an id, and what it answers to a batch of one.
//!
//! ```text
//!   unknown id ── any first sequence (or only 0, see Rules) ──► known
//!   known ── next sequence, same epoch ──► appended
//!         ── one of the last five batches again ──► the original offset, nothing appended
//!         ── newer epoch ──► must start at 0
//!         ── older epoch, gap, repeat of something older ──► refused
//!
//!   no transaction ── transactional batch, and the coordinator knows of it ──► open ── marker ──► no transaction
//! ```
//!
//! Rules this file keeps:
//! - nothing is remembered before the batch is appended: [`Producers::judge`] only reads;
//! - five batches are remembered for each producer, as Kafka does, since no client may have more in flight;
//! - a marker in a newer epoch ends what is remembered of the older one: the next batch is to start at 0 (KIP-890);
//! - the number of producers is bounded; the one whose last append is oldest is forgotten first, and last of all one
//!   with an open transaction.

use std::{collections::VecDeque, sync::Arc};

use kafka_protocol::ResponseError;

use super::{batch::BatchHeader, marker::Marker};
use crate::types::HashMap;

/// The producers of one partition.
#[derive(Debug, Default)]
pub(super) struct Producers(HashMap<i64, Producer>, Arc<()>);

#[derive(Debug)]
struct Producer {
    /// One more reference to what all partitions share: how many there are tells how many producers they know.
    _counted: Arc<()>,
    epoch: i16,
    /// The last appended batches of this epoch, the newest at the back. Empty after a marker with a newer epoch.
    batches: VecDeque<Appended>,
    /// Where the first batch of the open transaction stands.
    open: Option<i64>,
    /// The epoch of the coordinator that wrote the last marker; −1 before the first.
    coordinator_epoch: i32,
    /// When something of it was last appended, and the greatest timestamp in that.
    appended_millis: i64,
    timestamp: i64,
    /// Where that stands, for the order in which producers are forgotten.
    last_offset: i64,
}

#[derive(Debug, Clone, Copy)]
struct Appended {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp: i64,
}

/// The circumstances that a batch is judged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Whether an unknown producer must start at sequence 0, as brokers before KIP-360 had it.
    pub(super) strict_start: bool,
    /// Whether the request is of a version that belongs to transaction version 2 (KIP-890): then too.
    pub(super) second_version: bool,
    /// Whether the coordinator has confirmed that the partition is in the producer's transaction.
    pub(super) verified: bool,
    /// The time of day.
    pub(super) now_millis: i64,
    /// After so long a producer without an open transaction is unknown again.
    pub(super) expiration_millis: i64,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new and in order.
    Append,
    /// It stands in the log already, there and with this timestamp.
    Duplicate { base_offset: i64, timestamp: i64 },
    /// It is refused.
    Refuse(ResponseError),
}

/// What a batch or a marker changed about the partition's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// A transaction was opened by a batch at this offset.
    Opened(i64),
    /// The transaction that began at this offset was ended.
    Ended(i64),
}

/// A producer as DescribeProducers tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerState {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) last_sequence: i32,
    pub(super) timestamp: i64,
    pub(super) coordinator_epoch: i32,
    /// Where its open transaction began.
    pub(super) open: Option<i64>,
}

impl Producers {
    /// Of one of the partitions that share `all`.
    pub(super) fn of(all: &Arc<()>) -> Self {
        Self(HashMap::default(), all.clone())
    }

    /// What Kafka answers to this batch.
    pub(super) fn judge(&self, batch: &BatchHeader, rules: &Rules) -> Verdict {
        if batch.producer_id < 0 {
            return Verdict::Append;
        }
        let known = self.0.get(&batch.producer_id).filter(|producer| !producer.is_expired(rules));
        let epoch = known.map_or(-1, |producer| producer.epoch);
        if let Some(same) = known.and_then(|producer| producer.repeated(batch)) {
            return Verdict::Duplicate { base_offset: same.base_offset, timestamp: same.timestamp };
        }
        if batch.producer_epoch < epoch {
            return Verdict::Refuse(ResponseError::InvalidProducerEpoch);
        }
        let open = known.is_some_and(|producer| producer.open.is_some());
        if batch.is_transactional() && !open && !rules.verified {
            return Verdict::Refuse(ResponseError::InvalidTxnState); // KIP-890, part 1
        }
        match known {
            None if batch.base_sequence == 0 => {}
            None if rules.strict_start => return Verdict::Refuse(ResponseError::UnknownProducerId),
            None if batch.is_transactional() && rules.second_version => return out_of_order(),
            None => {}
            Some(producer) if batch.producer_epoch == epoch && batch.base_sequence == producer.next_sequence() => {}
            Some(_) if batch.producer_epoch > epoch && batch.base_sequence == 0 => {}
            Some(_) => return out_of_order(),
        }
        if open && !batch.is_transactional() {
            return Verdict::Refuse(ResponseError::InvalidTxnState);
        }
        Verdict::Append
    }

    /// Whether the producer has an open transaction here in this epoch, so that nobody has to be asked about it.
    pub(super) fn is_open(&self, producer_id: i64, epoch: i16) -> bool {
        self.0.get(&producer_id).is_some_and(|producer| producer.open.is_some() && producer.epoch == epoch)
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn remember(&mut self, batch: &BatchHeader, base_offset: i64, rules: &Rules) -> Change {
        if batch.producer_id < 0 {
            return Change::Nothing;
        }
        let producer = self.0.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.producer_epoch, &self.1));
        if producer.epoch != batch.producer_epoch || producer.is_expired(rules) {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Appended {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            timestamp: batch.max_timestamp,
        });
        producer.appended_millis = rules.now_millis;
        producer.timestamp = batch.max_timestamp;
        producer.last_offset = base_offset;
        if batch.is_transactional() && producer.open.is_none() {
            producer.open = Some(base_offset);
            return Change::Opened(base_offset);
        }
        Change::Nothing
    }

    /// Forgets the batches from `end_offset` on, which the log has lost.
    pub(super) fn truncate(&mut self, end_offset: i64) {
        self.0.retain(|_, producer| {
            while producer.batches.pop_back_if(|batch| batch.base_offset >= end_offset).is_some() {}
            producer.open = producer.open.filter(|first_offset| *first_offset < end_offset);
            producer.last_offset = producer.last_offset.min(end_offset - 1);
            !producer.batches.is_empty() || producer.open.is_some()
        });
    }

    /// Whether a marker may be written.
    pub(super) fn judge_marker(&self, marker: &Marker) -> Result<(), ResponseError> {
        match self.0.get(&marker.producer_id) {
            Some(known) if marker.producer_epoch < known.epoch => Err(ResponseError::InvalidProducerEpoch),
            Some(known) if marker.coordinator_epoch < known.coordinator_epoch => {
                Err(ResponseError::TransactionCoordinatorFenced)
            }
            _ => Ok(()),
        }
    }

    /// Remembers a marker that was written at `offset`.
    pub(super) fn remember_marker(&mut self, marker: &Marker, offset: i64) -> Change {
        let producer =
            self.0.entry(marker.producer_id).or_insert_with(|| Producer::new(marker.producer_epoch, &self.1));
        if producer.epoch != marker.producer_epoch {
            producer.epoch = marker.producer_epoch;
            producer.batches.clear();
        }
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.appended_millis = marker.timestamp;
        producer.timestamp = marker.timestamp;
        producer.last_offset = offset;
        producer.open.take().map_or(Change::Nothing, Change::Ended)
    }

    /// Forgets one producer if there are too many; returns where its open transaction began.
    pub(super) fn forget_oldest(&mut self) -> Option<i64> {
        let crowded = self.0.len() > 1 && Arc::strong_count(&self.1) > MAX_IN_ALL;
        if self.0.len() <= MAX_PRODUCERS && !crowded {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|(id, producer)| (producer.open.is_some(), producer.last_offset, **id));
        let oldest = oldest.map(|(id, _)| *id)?;
        self.0.remove(&oldest)?.open
    }

    /// All that are known, ordered by their ids.
    pub(super) fn states(&self, rules: &Rules) -> Vec<ProducerState> {
        let known = self.0.iter().filter(|(_, producer)| !producer.is_expired(rules));
        let mut states: Vec<_> = known.map(|(id, producer)| producer.state(*id)).collect();
        states.sort_by_key(|state| state.producer_id);
        states
    }
}

impl Producer {
    fn new(epoch: i16, all: &Arc<()>) -> Self {
        let _counted = all.clone();
        let batches = VecDeque::with_capacity(REMEMBERED);
        Self {
            _counted,
            epoch,
            batches,
            open: None,
            coordinator_epoch: -1,
            appended_millis: 0,
            timestamp: -1,
            last_offset: -1,
        }
    }

    fn is_expired(&self, rules: &Rules) -> bool {
        self.open.is_none() && rules.now_millis.saturating_sub(self.appended_millis) >= rules.expiration_millis
    }

    fn repeated(&self, batch: &BatchHeader) -> Option<&Appended> {
        self.batches.iter().find(|known| self.epoch == batch.producer_epoch && known.is(batch))
    }

    fn next_sequence(&self) -> i32 {
        match self.batches.back() {
            Some(last) if last.last_sequence < i32::MAX => last.last_sequence + 1,
            _ => 0,
        }
    }

    fn state(&self, producer_id: i64) -> ProducerState {
        ProducerState {
            producer_id,
            epoch: self.epoch,
            last_sequence: self.batches.back().map_or(-1, |last| last.last_sequence),
            timestamp: self.timestamp,
            coordinator_epoch: self.coordinator_epoch,
            open: self.open,
        }
    }
}

impl Appended {
    fn is(&self, batch: &BatchHeader) -> bool {
        self.first_sequence == batch.base_sequence && self.last_sequence == batch.last_sequence()
    }
}

fn out_of_order() -> Verdict {
    Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber)
}

const REMEMBERED: usize = 5;

/// Kafka forgets a producer after a day alone; here their number is bounded as well.
const MAX_PRODUCERS: usize = 10_000;

/// Where all partitions together are and know more than this, each that learns of one more forgets one, down to its last.
const MAX_IN_ALL: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules =
        Rules { strict_start: true, second_version: false, verified: false, now_millis: 0, expiration_millis: 1000 };
    const LENIENT: Rules = Rules { strict_start: false, ..STRICT };
    const VERIFIED: Rules = Rules { verified: true, ..LENIENT };
    const SECOND: Rules = Rules { second_version: true, ..VERIFIED };

    fn batch(producer_id: i64, epoch: i16, sequence: i32, records: i32) -> BatchHeader {
        BatchHeader {
            size: 100,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 1000,
            max_timestamp: i64::from(sequence) + 1000,
            producer_id,
            producer_epoch: epoch,
            base_sequence: sequence,
            record_count: records,
        }
    }

    fn transactional(producer_id: i64, epoch: i16, sequence: i32) -> BatchHeader {
        BatchHeader { attributes: 0x10, ..batch(producer_id, epoch, sequence, 1) }
    }

    fn marker(producer_id: i64, producer_epoch: i16, coordinator_epoch: i32) -> Marker {
        Marker { producer_id, producer_epoch, coordinator_epoch, commit: true, timestamp: 0 }
    }

    fn refuse(error: ResponseError) -> Verdict {
        Verdict::Refuse(error)
    }

    #[test]
    fn sequences_are_judged_as_kafka_does() {
        let mut producers = Producers::default();
        for (number, sequence) in [0, 10, 20, 30, 40, 50].into_iter().enumerate() {
            let batch = batch(1, 3, sequence, 10);
            assert_eq!(producers.judge(&batch, &STRICT), Verdict::Append);
            producers.remember(&batch, number as i64 * 10, &STRICT);
        }
        let out_of_order = refuse(ResponseError::OutOfOrderSequenceNumber);
        let table = [
            ("next", batch(1, 3, 60, 1), Verdict::Append),
            ("gap", batch(1, 3, 61, 1), out_of_order),
            ("last again", batch(1, 3, 50, 10), Verdict::Duplicate { base_offset: 50, timestamp: 1050 }),
            ("fifth from the end again", batch(1, 3, 10, 10), Verdict::Duplicate { base_offset: 10, timestamp: 1010 }),
            ("sixth from the end again", batch(1, 3, 0, 10), out_of_order),
            ("half of a known batch", batch(1, 3, 50, 5), out_of_order),
            ("older epoch", batch(1, 2, 60, 1), refuse(ResponseError::InvalidProducerEpoch)),
            ("older epoch with a known sequence", batch(1, 2, 50, 10), refuse(ResponseError::InvalidProducerEpoch)),
            ("newer epoch goes on counting", batch(1, 4, 60, 1), out_of_order),
            ("newer epoch from 0", batch(1, 4, 0, 1), Verdict::Append),
            ("unknown producer in the middle", batch(2, 0, 7, 1), refuse(ResponseError::UnknownProducerId)),
            ("no producer", batch(-1, -1, -1, 1), Verdict::Append),
        ];
        for (name, batch, expected) in table {
            assert_eq!(producers.judge(&batch, &STRICT), expected, "{name}");
        }
        let verdict = producers.judge(&batch(2, 0, 7, 1), &LENIENT);
        assert_eq!(verdict, Verdict::Append, "Kafka's default for unknown producers");
    }

    #[test]
    fn transactional_batches_need_a_transaction_and_others_must_not_have_one() {
        let mut producers = Producers::default();
        let open = transactional(1, 0, 0);
        assert_eq!(producers.remember(&open, 70, &VERIFIED), Change::Opened(70));
        assert_eq!(producers.remember(&transactional(1, 0, 1), 71, &LENIENT), Change::Nothing, "it is open already");
        let state = refuse(ResponseError::InvalidTxnState);
        let table = [
            ("goes on without being asked about", transactional(1, 0, 2), LENIENT, Verdict::Append),
            ("the first again", open, LENIENT, Verdict::Duplicate { base_offset: 70, timestamp: 1000 }),
            ("not transactional", batch(1, 0, 2, 1), LENIENT, state),
            ("unverified", transactional(2, 0, 0), LENIENT, state),
            ("verified", transactional(2, 0, 0), VERIFIED, Verdict::Append),
            ("verified, in the middle", transactional(2, 0, 9), VERIFIED, Verdict::Append),
            ("the same by the second version", transactional(2, 0, 9), SECOND, out_of_order()),
        ];
        for (name, batch, rules, expected) in table {
            assert_eq!(producers.judge(&batch, &rules), expected, "{name}");
        }
    }

    #[test]
    fn a_marker_ends_the_transaction_and_a_newer_epoch_in_it_the_numbering() {
        let mut producers = Producers::default();
        producers.remember(&transactional(1, 4, 0), 10, &VERIFIED);
        assert_eq!(producers.judge_marker(&marker(1, 3, 0)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(producers.remember_marker(&marker(1, 4, 5), 11), Change::Ended(10));
        assert_eq!(producers.remember_marker(&marker(1, 4, 5), 12), Change::Nothing, "nothing was open");
        assert_eq!(producers.judge_marker(&marker(1, 4, 4)), Err(ResponseError::TransactionCoordinatorFenced));
        assert_eq!(producers.judge(&transactional(1, 4, 1), &VERIFIED), Verdict::Append, "the numbering goes on");
        assert_eq!(producers.judge(&transactional(1, 4, 1), &LENIENT), refuse(ResponseError::InvalidTxnState));
        producers.remember_marker(&marker(1, 5, 5), 13);
        let fenced = refuse(ResponseError::InvalidProducerEpoch);
        assert_eq!(producers.judge(&transactional(1, 4, 1), &VERIFIED), fenced, "KIP-890: the epoch has passed");
        assert_eq!(producers.judge(&transactional(1, 5, 1), &VERIFIED), out_of_order());
        assert_eq!(producers.judge(&transactional(1, 5, 0), &VERIFIED), Verdict::Append);
    }

    #[test]
    fn a_producer_is_unknown_again_after_a_while_unless_its_transaction_is_open() {
        let mut producers = Producers::default();
        producers.remember(&batch(1, 0, 0, 5), 0, &LENIENT);
        producers.remember(&transactional(2, 0, 0), 5, &VERIFIED);
        let later = |now_millis| Rules { now_millis, ..STRICT };
        assert_eq!(producers.judge(&batch(1, 0, 5, 1), &later(999)), Verdict::Append);
        let unknown = refuse(ResponseError::UnknownProducerId);
        assert_eq!(producers.judge(&batch(1, 0, 5, 1), &later(1000)), unknown);
        assert_eq!(producers.judge(&transactional(2, 0, 1), &later(9000)), Verdict::Append);
        assert_eq!(producers.states(&later(1000)).len(), 1);
        producers.remember(&batch(1, 0, 40, 1), 6, &later(1000));
        assert_eq!(producers.judge(&batch(1, 0, 0, 5), &later(1000)), out_of_order(), "what was known is forgotten");
    }

    #[test]
    fn p8_the_sequence_after_the_last_is_zero() {
        let mut producers = Producers::default();
        producers.remember(&batch(1, 0, i32::MAX - 4, 5), 0, &STRICT);
        assert_eq!(producers.judge(&batch(1, 0, 0, 5), &STRICT), Verdict::Append);
        assert_eq!(producers.judge(&batch(1, 0, 1, 5), &STRICT), out_of_order());
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut producers = Producers::default();
        producers.remember(&transactional(0, 0, 0), 0, &VERIFIED);
        for id in 1..MAX_PRODUCERS as i64 + 10 {
            producers.remember(&batch(id, 0, 0, 1), id, &STRICT);
            assert_eq!(producers.forget_oldest(), None);
        }
        assert_eq!(producers.0.len(), MAX_PRODUCERS);
        assert!(producers.0.contains_key(&0), "its transaction is open");
        assert!(!producers.0.contains_key(&1), "the oldest went first");
    }

    #[test]
    fn all_partitions_together_know_a_bounded_number() {
        let all = Arc::default();
        let mut partitions: Vec<Producers> = (0..20).map(|_| Producers::of(&all)).collect();
        for id in 1..6_000 {
            for producers in &mut partitions {
                producers.remember(&batch(id, 0, 0, 1), id, &LENIENT);
                producers.forget_oldest();
            }
        }
        assert!(Arc::strong_count(&all) <= MAX_IN_ALL, "{}", Arc::strong_count(&all));
        partitions.truncate(1);
        assert_eq!(Arc::strong_count(&all), partitions[0].0.len() + 2, "a log that goes gives them back");
    }
}
