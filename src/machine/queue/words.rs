//! What goes into a queue of batches and what comes out of it, in words that no decision is hidden in.

use std::time::Duration;

use crate::wire::ErrorCode;

use super::super::identity::ProducerId;

/// What the caller chose for all partitions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) idempotent: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retries: u32,
}

/// The number of a batch in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchId(pub(super) u64);

/// What a batch says of its writer. Set once per identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: ProducerId,
    pub(crate) sequence: i32,
}

/// What a broker said about a batch that it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// Where the partition's log begins; −1 where the broker did not say.
    pub(crate) log_start_offset: i64,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, log_start_offset: -1 }
    }
}

/// A batch that is to be written now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Send<'a, B> {
    pub(crate) id: BatchId,
    /// `None` without idempotence.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) batch: &'a mut B,
}

/// A batch whose fate is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done<B> {
    pub(crate) batch: B,
    pub(crate) outcome: Outcome,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker wrote it; the offset is −1 where the broker no longer knew it.
    Acked { base_offset: i64, log_append_time: i64 },
    /// It failed for good.
    Failed { why: Failure, maybe_written: bool },
}

/// Why a batch failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The broker refused it.
    Refused(ErrorCode),
    /// Its time ran out; with the last error a broker gave, if one did.
    TimedOut { last: Option<ErrorCode> },
    /// It was tried as often as allowed; with the last error a broker gave, if one did.
    TriedTooOften { last: Option<ErrorCode> },
    /// Its producer does not wait for it any longer.
    Abandoned,
    /// Its transaction is to be aborted.
    Aborted,
}
