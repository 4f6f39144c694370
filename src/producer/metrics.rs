//! What a producer has done so far, counted per batch.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A snapshot of a producer's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records that a broker acknowledged.
    pub records_acked: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Batches that a broker acknowledged.
    pub batches_acked: u64,
    /// Bytes of the acknowledged batches before compression, their headers included.
    pub raw_bytes: u64,
    /// Bytes of the acknowledged batches as they went out.
    pub wire_bytes: u64,
    /// Produce requests that were made, repeated ones included.
    pub requests: u64,
    /// Batches in those requests: more than `batches_acked` when some were sent again.
    pub batches_sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    records_acked: AtomicU64,
    records_failed: AtomicU64,
    batches_acked: AtomicU64,
    raw_bytes: AtomicU64,
    wire_bytes: AtomicU64,
    requests: AtomicU64,
    batches_sent: AtomicU64,
    /// Records with the sender.
    fetched: AtomicUsize,
}

impl Counters {
    /// The sender has taken a batch.
    pub(super) fn count_fetched(&self, records: i32) {
        self.fetched.fetch_add(records.unsigned_abs() as usize, Relaxed);
    }

    pub(super) fn fetched(&self) -> usize {
        self.fetched.load(Relaxed)
    }

    /// A batch that the sender took is settled.
    pub(super) fn count_settled(&self, records: i32) {
        self.fetched.fetch_sub(records.unsigned_abs() as usize, Relaxed);
    }

    pub(super) fn count_acked(&self, records: i32, raw: usize, wire: usize) {
        self.records_acked.fetch_add(u64::from(records.unsigned_abs()), Relaxed);
        self.batches_acked.fetch_add(1, Relaxed);
        self.raw_bytes.fetch_add(raw as u64, Relaxed);
        self.wire_bytes.fetch_add(wire as u64, Relaxed);
    }

    pub(super) fn count_failed(&self, records: i32) {
        self.records_failed.fetch_add(u64::from(records.unsigned_abs()), Relaxed);
    }

    pub(super) fn count_request(&self, batches: usize) {
        self.requests.fetch_add(1, Relaxed);
        self.batches_sent.fetch_add(batches as u64, Relaxed);
    }

    pub(super) fn snapshot(&self) -> ProducerMetrics {
        ProducerMetrics {
            records_acked: self.records_acked.load(Relaxed),
            records_failed: self.records_failed.load(Relaxed),
            batches_acked: self.batches_acked.load(Relaxed),
            raw_bytes: self.raw_bytes.load(Relaxed),
            wire_bytes: self.wire_bytes.load(Relaxed),
            requests: self.requests.load(Relaxed),
            batches_sent: self.batches_sent.load(Relaxed),
        }
    }
}
