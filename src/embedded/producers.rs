//! What a partition remembers about idempotent producers, and what it answers to a batch of one.
//!
//! ```text
//!   unknown id ── any first sequence (or only 0, by a switch) ──► known
//!   known ── next sequence, same epoch ──► appended
//!         ── one of the last five batches again ──► the original offset, nothing appended
//!         ── newer epoch ──► must start at 0
//!         ── older epoch, gap, repeat of something older ──► refused
//! ```
//!
//! Rules this file keeps:
//! - nothing is remembered before the batch is appended: [`Producers::judge`] only reads;
//! - five batches are remembered for each producer, as Kafka does, since no client may have more in flight;
//! - the number of producers is bounded; the one whose last append is oldest is forgotten first.

use std::collections::VecDeque;

use kafka_protocol::ResponseError;

use super::batch::BatchHeader;
use crate::types::HashMap;

/// The idempotent producers of one partition.
#[derive(Debug, Default)]
pub(super) struct Producers(HashMap<i64, Producer>);

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// The last appended batches, the newest at the back; never empty.
    batches: VecDeque<Appended>,
}

#[derive(Debug, Clone, Copy)]
struct Appended {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp: i64,
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

impl Producers {
    /// What Kafka answers to this batch. `strict_start` refuses an unknown producer that does not start at 0, as
    /// brokers before KIP-360 did.
    pub(super) fn judge(&self, batch: &BatchHeader, strict_start: bool) -> Verdict {
        if batch.producer_id < 0 {
            return Verdict::Append;
        }
        let Some(producer) = self.0.get(&batch.producer_id) else {
            return if strict_start && batch.base_sequence != 0 {
                Verdict::Refuse(ResponseError::UnknownProducerId)
            } else {
                Verdict::Append
            };
        };
        if batch.producer_epoch < producer.epoch {
            return Verdict::Refuse(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            return in_order(batch.base_sequence == 0);
        }
        if let Some(same) = producer.batches.iter().find(|known| known.is(batch)) {
            return Verdict::Duplicate { base_offset: same.base_offset, timestamp: same.timestamp };
        }
        in_order(producer.next_sequence() == Some(batch.base_sequence))
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn remember(&mut self, batch: &BatchHeader, base_offset: i64) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self
            .0
            .entry(batch.producer_id)
            .or_insert_with(|| Producer { epoch: batch.producer_epoch, batches: VecDeque::with_capacity(REMEMBERED) });
        if producer.epoch != batch.producer_epoch {
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
        if self.0.len() > MAX_PRODUCERS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let last_append = |producer: &Producer| producer.batches.back().map_or(i64::MIN, |batch| batch.base_offset);
        let oldest = self.0.iter().min_by_key(|(_, producer)| last_append(producer)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.0.remove(&id);
        }
    }
}

impl Producer {
    fn next_sequence(&self) -> Option<i32> {
        let last = self.batches.back()?.last_sequence;
        Some(if last == i32::MAX { 0 } else { last + 1 })
    }
}

impl Appended {
    fn is(&self, batch: &BatchHeader) -> bool {
        self.first_sequence == batch.base_sequence && self.last_sequence == batch.last_sequence()
    }
}

fn in_order(is: bool) -> Verdict {
    if is { Verdict::Append } else { Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber) }
}

const REMEMBERED: usize = 5;

/// Kafka forgets a producer after a day; a broker that lives for a test counts instead.
const MAX_PRODUCERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

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

    fn refuse(error: ResponseError) -> Verdict {
        Verdict::Refuse(error)
    }

    #[test]
    fn sequences_are_judged_as_kafka_does() {
        let mut producers = Producers::default();
        for (number, sequence) in [0, 10, 20, 30, 40, 50].into_iter().enumerate() {
            let batch = batch(1, 3, sequence, 10);
            assert_eq!(producers.judge(&batch, true), Verdict::Append);
            producers.remember(&batch, number as i64 * 10);
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
            ("newer epoch goes on counting", batch(1, 4, 60, 1), out_of_order),
            ("newer epoch from 0", batch(1, 4, 0, 1), Verdict::Append),
            ("unknown producer in the middle", batch(2, 0, 7, 1), refuse(ResponseError::UnknownProducerId)),
            ("no producer", batch(-1, -1, -1, 1), Verdict::Append),
        ];
        for (name, batch, expected) in table {
            assert_eq!(producers.judge(&batch, true), expected, "{name}");
        }
        assert_eq!(
            producers.judge(&batch(2, 0, 7, 1), false),
            Verdict::Append,
            "Kafka's default for unknown producers"
        );
    }

    #[test]
    fn p8_the_sequence_after_the_last_is_zero() {
        let mut producers = Producers::default();
        producers.remember(&batch(1, 0, i32::MAX - 4, 5), 0);
        assert_eq!(producers.judge(&batch(1, 0, 0, 5), true), Verdict::Append);
        assert_eq!(producers.judge(&batch(1, 0, 1, 5), true), refuse(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..MAX_PRODUCERS as i64 + 10 {
            producers.remember(&batch(id, 0, 0, 1), id);
        }
        assert_eq!(producers.0.len(), MAX_PRODUCERS);
        assert!(!producers.0.contains_key(&0), "the oldest went first");
    }
}
