//! The memory that all groups together may take, counted by whoever keeps something.
//!
//! Rules this file keeps:
//! - nothing that a client sends is kept without a [`Charge`]; what is dropped gives its charge back by itself;
//! - counting is approximate, and errs upwards.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kafka_protocol::ResponseError;

/// How much is kept, and how much may be.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Budget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(in crate::embedded) struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(in crate::embedded) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// A charge for so many bytes of a client's, and for what remembering them takes.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED if they are too many: Kafka's only word for a group that has no room.
    pub(in crate::embedded) fn take(&self, bytes: usize) -> Result<Charge, ResponseError> {
        let bytes = bytes.saturating_add(OVERHEAD);
        let within = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within) {
            Ok(_) => Ok(Charge { used: self.used.clone(), bytes }),
            Err(_) => Err(ResponseError::GroupMaxSizeReached),
        }
    }

    /// Bytes that are kept now.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What an entry takes besides the client's bytes: nodes of maps, lengths, the charge itself.
const OVERHEAD: usize = 256;
