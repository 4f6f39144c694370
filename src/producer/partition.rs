//! One partition as callers and the sender share it: the open batch, and the sealed ones that wait to be fetched.
//!
//! Rules this file keeps:
//! - everything about a batch that is open happens under the partition's lock, and nothing in there waits;
//! - the sender is told of a partition once until it has looked.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use crate::{
    record::{BatchBuilder, SealedBatch},
    wire::Str,
};

use super::{
    clock::BatchClock,
    delivery::{Delivery, Settler},
};

/// One partition's open batch and the sealed ones that the sender has not yet fetched.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Str,
    pub(super) index: i32,
    /// Its number in the producer: the sender's name for it.
    pub(super) number: usize,
    /// Bytes that a batch may have here, once the broker refused a larger one.
    limit: AtomicUsize,
    /// Batches that were begun and are not settled (KIP-794).
    queued: AtomicU32,
    state: Mutex<PartitionState>,
}

#[derive(Debug, Default)]
pub(super) struct PartitionState {
    pub(super) open: Option<Open>,
    pub(super) sealed: VecDeque<Sealed>,
    /// The bytes of the last batch's records: so many are expected of the next.
    pub(super) last_len: usize,
    /// The sender has been told and has not looked yet.
    pub(super) listed: bool,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) builder: BatchBuilder,
    pub(super) cell: Settler,
    pub(super) created: Instant,
    pub(super) clock: BatchClock,
    pub(super) reserved: usize,
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) batch: SealedBatch,
    pub(super) cell: Settler,
    pub(super) created: Instant,
    /// Bytes of memory to give back when it is settled.
    pub(super) reserved: usize,
}

impl Partition {
    pub(super) fn new(topic: Str, index: i32, number: usize) -> Self {
        Self {
            topic,
            index,
            number,
            limit: AtomicUsize::new(usize::MAX),
            queued: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    /// Batches that were begun and are not settled.
    pub(super) fn queued(&self) -> u32 {
        self.queued.load(Ordering::Relaxed)
    }

    /// There is one batch more: it was begun, or another one was split.
    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_settled(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes that a batch may have here.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// From now on batches are begun smaller: the broker has refused one of twice the size. There is no way back up: the
    /// topic's limit may be raised, but asking whether it was would cost a refused batch each time.
    pub(super) fn limit_to(&self, bytes: usize) {
        self.limit.fetch_min(bytes.max(SMALLEST_LIMIT), Ordering::Relaxed);
    }

    /// What the sender comes for: the sealed batches, and when the open one was begun.
    pub(super) fn fetch(&self) -> (VecDeque<Sealed>, Option<Instant>) {
        let mut state = self.state();
        state.listed = false;
        (std::mem::take(&mut state.sealed), state.open.as_ref().map(|open| open.created))
    }

    /// Records that the sender has not fetched.
    pub(super) fn records(&self) -> usize {
        let state = self.state();
        let sealed = state.sealed.iter().map(|sealed| sealed.batch.record_count);
        let open = state.open.as_ref().map(|open| open.builder.record_count());
        sealed.chain(open).map(|records| records.unsigned_abs() as usize).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.open.is_none() && state.sealed.is_empty()
    }

    /// Seals the open batch, because its time has come.
    pub(super) fn seal(&self) -> VecDeque<Sealed> {
        let mut state = self.state();
        state.seal();
        std::mem::take(&mut state.sealed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PartitionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionState {
    pub(super) fn seal(&mut self) {
        if let Some(Open { builder, cell, created, reserved, .. }) = self.open.take() {
            self.last_len = builder.body_len();
            self.sealed.push_back(Sealed { batch: builder.seal(), cell, created, reserved });
        }
    }
}

impl Open {
    /// The record that was just appended.
    #[inline]
    pub(super) fn last(&self) -> Delivery {
        self.cell.0.delivery(self.builder.record_count() - 1)
    }
}

/// No partition's batches are begun smaller than this.
const SMALLEST_LIMIT: usize = 1024;
