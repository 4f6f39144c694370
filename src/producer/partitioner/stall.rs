//! Which brokers take nothing at the moment (KIP-794's `partitioner.availability.timeout.ms`).
//!
//! Rules this file keeps:
//! - the sender writes, once per look at a broker; callers read when a turn ends, never per record;
//! - a broker that takes one request is well again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    producer::metrics::micros,
    types::{BrokerId, HashMap},
};

/// Since when one broker has not taken what is ready for it.
#[derive(Debug)]
pub(in crate::producer) struct Stall {
    base: Instant,
    /// Microseconds since `base`, and one; 0 while it takes.
    since: AtomicU64,
}

/// One for each broker, shared by the topics that it leads partitions of.
#[derive(Debug, Default)]
pub(in crate::producer) struct Stalls(Mutex<HashMap<BrokerId, Arc<Stall>>>);

impl Stall {
    pub(in crate::producer) fn new() -> Self {
        Self { base: Instant::now(), since: AtomicU64::new(0) }
    }

    /// Something is ready for the broker and cannot go there.
    pub(in crate::producer) fn begin(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(micros(self.base.elapsed()) + 1, Ordering::Relaxed);
        }
    }

    pub(in crate::producer) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// How long the broker has taken nothing.
    pub(in crate::producer) fn lasts(&self, now: Instant) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => (now - self.base).saturating_sub(Duration::from_micros(since - 1)),
        }
    }
}

impl Stalls {
    pub(in crate::producer) fn of(&self, broker: BrokerId) -> Arc<Stall> {
        let mut stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stalls.entry(broker).or_insert_with(|| Arc::new(Stall::new())).clone()
    }
}
