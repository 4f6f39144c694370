//! What a broker's refusal of a batch means for it.

use crate::{
    plant::{self, Plant},
    wire::ErrorCode,
};

/// What to do about a batch that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stands in the log already: as good as acknowledged.
    AlreadyWritten,
    /// It was not written; the same again later.
    Retry,
    /// It was not written because this broker does not lead the partition; ask for metadata, then again.
    RetryElsewhere,
    /// It may have been written; the same again later, with the same stamp.
    Unsure,
    /// The chain of sequence numbers does not fit what the broker knows.
    Broken,
    /// It was not written because it is larger than the topic allows: smaller ones may be taken (KIP-126).
    TooLarge,
    /// It fails for good.
    Fail,
    /// The producer as a whole may not write any more.
    Dead,
}

impl Verdict {
    pub(crate) fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Self::AlreadyWritten,
            ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::UNKNOWN_SERVER_ERROR => Self::Unsure,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::INVALID_PRODUCER_EPOCH => Self::Broken,
            ErrorCode::PRODUCER_FENCED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => Self::Dead,
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Self::TooLarge,
            code if code.refreshes_metadata() => Self::RetryElsewhere,
            code if code.is_retriable() && !plant::is(Plant::FailEarly) => Self::Retry,
            _ => Self::Fail,
        }
    }
}
