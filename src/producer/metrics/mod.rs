//! What a producer has done so far, counted per batch and per request, never per record.
//!
//! `docs/metrics.md` lists each figure with its unit and its name in Java.
//!
//! Rules this folder keeps: counting takes no lock where nothing has gone wrong, and its memory is bounded.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    error::ErrorKind,
    wire::{ErrorCode, Str},
};

use super::Buffered;

mod counters;
mod histogram;

pub(super) use counters::{Counters, Tally, micros};
pub use histogram::{Histogram, Recorder, Unit};

/// A snapshot of a producer's figures, taken by [`Producer::metrics`](crate::Producer::metrics). Counters and histograms
/// begin with the producer and only grow; gauges say how things stand.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records that a broker acknowledged.
    pub records_acked: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Records in batches that were sent again, counted each time.
    pub records_retried: u64,
    /// Batches that a broker acknowledged.
    pub batches_acked: u64,
    /// Batches that failed for good.
    pub batches_failed: u64,
    /// Batches in Produce requests: more than `batches_acked` when some were sent again.
    pub batches_sent: u64,
    /// Batches that were too large for the broker and were split.
    pub batches_split: u64,
    /// Bytes of the acknowledged batches before compression, their headers included.
    pub raw_bytes: u64,
    /// Bytes of the acknowledged batches as they went out.
    pub wire_bytes: u64,
    /// Produce requests that were made, repeated ones included.
    pub requests: u64,
    /// Produce requests that could not be written, or that no answer came to.
    pub requests_lost: u64,
    /// Produce answers that asked for silence (KIP-219).
    pub throttles: u64,
    /// How long these answers asked for, together.
    pub throttle_time: Duration,
    /// Attempts of `try_enqueue` that found no memory, and calls that waited `max.block.ms` for it in vain.
    pub buffer_full: u64,
    /// How long callers have waited for memory, together.
    pub memory_wait: Duration,
    /// What waits to be acknowledged now.
    pub buffered: Buffered,
    /// Callers that wait for memory now.
    pub waiting_callers: usize,
    /// Produce requests whose answer is awaited now.
    pub requests_in_flight: usize,
    /// From the first record of a batch to its acknowledgement.
    pub latency: Histogram<Duration>,
    /// From the first record of a batch to its first request: linger, compression, and waiting for the broker.
    pub queue_time: Histogram<Duration>,
    /// From a request to its answer.
    pub request_time: Histogram<Duration>,
    /// Bytes of acknowledged batches as they went out.
    pub batch_bytes: Histogram<u64>,
    /// Records of acknowledged batches.
    pub batch_records: Histogram<u64>,
    /// Bytes of an acknowledged batch as it went out, over its bytes before compression: 1 is no gain, 0.25 a quarter.
    pub compression_ratio: Histogram<f64>,
    /// Batches that brokers refused, by error code, whether they were sent again or not. At most 32 codes are told apart;
    /// the others are counted as `UNKNOWN_SERVER_ERROR`.
    pub refusals: Vec<(ErrorCode, u64)>,
    /// Records that failed for good, by the kind of their error; beyond 32 kinds as `Closed`.
    pub failures: Vec<(ErrorKind, u64)>,
    /// The figures of each topic, with [`ProducerBuilder::topic_metrics`](super::ProducerBuilder::topic_metrics); empty
    /// without.
    pub topics: BTreeMap<Str, TopicMetrics>,
}

/// What a producer has done for one topic.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TopicMetrics {
    /// Records that a broker acknowledged.
    pub records_acked: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Records in batches that were sent again, counted each time.
    pub records_retried: u64,
    /// Batches that a broker acknowledged.
    pub batches_acked: u64,
    /// Bytes of the acknowledged batches before compression, their headers included.
    pub raw_bytes: u64,
    /// Bytes of the acknowledged batches as they went out.
    pub wire_bytes: u64,
    /// From the first record of a batch to its acknowledgement.
    pub latency: Histogram<Duration>,
}
