//! The counters behind `ProducerMetrics`.
//!
//! Rules this file keeps: every figure is changed by relaxed additions, so a snapshot taken while it changes may be a
//! batch ahead in one figure of what it is in another; a lock is taken for errors and for a topic's first batch alone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    error::ErrorKind,
    wire::{ErrorCode, Str},
};

use super::{ProducerMetrics, TopicMetrics, histogram::Recorder};

/// What the callers and the sender count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    all: Tally,
    batches_failed: AtomicU64,
    batches_sent: AtomicU64,
    batches_split: AtomicU64,
    requests: AtomicU64,
    requests_lost: AtomicU64,
    requests_in_flight: AtomicUsize,
    throttles: AtomicU64,
    throttle_micros: AtomicU64,
    buffer_full: AtomicU64,
    memory_wait_micros: AtomicU64,
    /// Records with the sender.
    fetched: AtomicUsize,
    queue_time: Recorder,
    request_time: Recorder,
    batch_bytes: Recorder,
    batch_records: Recorder,
    compression_ratio: Recorder,
    refusals: Mutex<Vec<(ErrorCode, u64)>>,
    failures: Mutex<Vec<(ErrorKind, u64)>>,
    topics: Mutex<BTreeMap<Str, Arc<Tally>>>,
}

/// What is counted for all topics together, and for each where that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    records_acked: AtomicU64,
    records_failed: AtomicU64,
    records_retried: AtomicU64,
    batches_acked: AtomicU64,
    raw_bytes: AtomicU64,
    wire_bytes: AtomicU64,
    latency: Recorder,
}

impl Counters {
    /// Where a topic is counted by itself.
    pub(crate) fn topic(&self, topic: &Str) -> Arc<Tally> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.clone()).or_default().clone()
    }

    /// The sender has taken a batch.
    pub(crate) fn count_fetched(&self, records: i32) {
        self.fetched.fetch_add(records.unsigned_abs() as usize, Relaxed);
    }

    /// Records that the sender has taken and not settled.
    pub(crate) fn fetched(&self) -> usize {
        self.fetched.load(Relaxed)
    }

    /// A batch that the sender took is settled.
    pub(crate) fn count_settled(&self, records: i32) {
        self.fetched.fetch_sub(records.unsigned_abs() as usize, Relaxed);
    }

    pub(crate) fn count_acked(
        &self,
        topic: Option<&Tally>,
        records: i32,
        (raw, wire): (usize, usize),
        latency: Duration,
    ) {
        let records = u64::from(records.unsigned_abs());
        for tally in [Some(&self.all), topic].into_iter().flatten() {
            tally.records_acked.fetch_add(records, Relaxed);
            tally.batches_acked.fetch_add(1, Relaxed);
            tally.raw_bytes.fetch_add(raw as u64, Relaxed);
            tally.wire_bytes.fetch_add(wire as u64, Relaxed);
            tally.latency.record(micros(latency));
        }
        self.batch_bytes.record(wire as u64);
        self.batch_records.record(records);
        self.compression_ratio.record((wire as u64).saturating_mul(1000) / (raw as u64).max(1));
    }

    pub(crate) fn count_failed(&self, topic: Option<&Tally>, records: i32, kind: ErrorKind) {
        let records = u64::from(records.unsigned_abs());
        for tally in [Some(&self.all), topic].into_iter().flatten() {
            tally.records_failed.fetch_add(records, Relaxed);
        }
        self.batches_failed.fetch_add(1, Relaxed);
        count(&self.failures, kind, ErrorKind::Closed, records);
    }

    /// A batch goes out for the first time, after so long a wait.
    pub(crate) fn count_first_try(&self, waited: Duration) {
        self.queue_time.record(micros(waited));
    }

    pub(crate) fn count_retry(&self, topic: Option<&Tally>, records: i32) {
        for tally in [Some(&self.all), topic].into_iter().flatten() {
            tally.records_retried.fetch_add(u64::from(records.unsigned_abs()), Relaxed);
        }
    }

    pub(crate) fn count_refused(&self, code: ErrorCode) {
        count(&self.refusals, code, ErrorCode::UNKNOWN_SERVER_ERROR, 1);
    }

    pub(crate) fn count_split(&self) {
        self.batches_split.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_request(&self, batches: usize) {
        self.requests.fetch_add(1, Relaxed);
        self.batches_sent.fetch_add(batches as u64, Relaxed);
    }

    pub(crate) fn count_launched(&self) {
        self.requests_in_flight.fetch_add(1, Relaxed);
    }

    /// A request that was launched is over; `time` is what its answer took, if there was one.
    pub(crate) fn count_landed(&self, time: Option<Duration>) {
        self.requests_in_flight.fetch_sub(1, Relaxed);
        if let Some(time) = time {
            self.request_time.record(micros(time));
        }
    }

    pub(crate) fn count_lost(&self) {
        self.requests_lost.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_throttle(&self, time: Duration) {
        self.throttles.fetch_add(1, Relaxed);
        self.throttle_micros.fetch_add(micros(time), Relaxed);
    }

    pub(crate) fn count_full(&self) {
        self.buffer_full.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_memory_wait(&self, time: Duration) {
        self.memory_wait_micros.fetch_add(micros(time), Relaxed);
    }

    /// All figures but those that others keep.
    pub(crate) fn snapshot(&self) -> ProducerMetrics {
        let all = self.all.snapshot();
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        ProducerMetrics {
            records_acked: all.records_acked,
            records_failed: all.records_failed,
            records_retried: all.records_retried,
            batches_acked: all.batches_acked,
            raw_bytes: all.raw_bytes,
            wire_bytes: all.wire_bytes,
            latency: all.latency,
            batches_failed: self.batches_failed.load(Relaxed),
            batches_sent: self.batches_sent.load(Relaxed),
            batches_split: self.batches_split.load(Relaxed),
            requests: self.requests.load(Relaxed),
            requests_lost: self.requests_lost.load(Relaxed),
            requests_in_flight: self.requests_in_flight.load(Relaxed),
            throttles: self.throttles.load(Relaxed),
            throttle_time: Duration::from_micros(self.throttle_micros.load(Relaxed)),
            buffer_full: self.buffer_full.load(Relaxed),
            memory_wait: Duration::from_micros(self.memory_wait_micros.load(Relaxed)),
            queue_time: self.queue_time.snapshot(),
            request_time: self.request_time.snapshot(),
            batch_bytes: self.batch_bytes.snapshot(),
            batch_records: self.batch_records.snapshot(),
            compression_ratio: self.compression_ratio.snapshot(),
            refusals: self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            topics: topics.iter().map(|(topic, tally)| (topic.clone(), tally.snapshot())).collect(),
            ..ProducerMetrics::default()
        }
    }
}

impl Tally {
    fn snapshot(&self) -> TopicMetrics {
        TopicMetrics {
            records_acked: self.records_acked.load(Relaxed),
            records_failed: self.records_failed.load(Relaxed),
            records_retried: self.records_retried.load(Relaxed),
            batches_acked: self.batches_acked.load(Relaxed),
            raw_bytes: self.raw_bytes.load(Relaxed),
            wire_bytes: self.wire_bytes.load(Relaxed),
            latency: self.latency.snapshot(),
        }
    }
}

/// Counts `what`, or `rest` where too many are told apart already: a peer may answer with any code.
fn count<T: Copy + PartialEq>(counts: &Mutex<Vec<(T, u64)>>, what: T, rest: T, by: u64) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = counts.iter().any(|(known, _)| *known == what);
    let what = if is_known || counts.len() < MOST_KINDS { what } else { rest };
    match counts.iter_mut().find(|(known, _)| *known == what) {
        Some((_, count)) => *count += by,
        None => counts.push((what, by)),
    }
}

/// Whole microseconds: what times are counted in.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// So many errors are told apart; one more is for the rest.
const MOST_KINDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_answers_with_every_code_fills_no_memory() {
        let counters = Counters::default();
        (i16::MIN..=i16::MAX).for_each(|code| counters.count_refused(ErrorCode(code)));
        let refusals = counters.snapshot().refusals;
        assert_eq!(refusals.iter().map(|(_, count)| count).sum::<u64>(), 1 << 16);
        assert!(refusals.len() <= MOST_KINDS + 1, "{}", refusals.len());
    }
}
