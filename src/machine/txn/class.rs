//! What a coordinator's refusal means for a transaction.

use crate::wire::ErrorCode;

use super::Step;

/// What to do about an answer, worse ones later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Done,
    /// The same again, at once or nearly so: the transaction before is being ended.
    Soon,
    /// The same again.
    Again,
    /// The same again, at whoever coordinates now.
    Elsewhere,
    /// The transaction has to be aborted. `bump`: the coordinator does not know this producer any more.
    Abort {
        bump: bool,
    },
    /// Somebody else has ended what was this producer's.
    Fenced,
    /// The producer cannot go on.
    Fatal,
}

impl Class {
    pub(super) fn of(step: Step, code: ErrorCode) -> Self {
        match (code, step) {
            (ErrorCode::NONE, _) => Self::Done,
            (ErrorCode::CONCURRENT_TRANSACTIONS, _) => Self::Soon,
            (ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE, _) => Self::Elsewhere,
            // The group's coordinator says so of offsets that it could not write in time.
            (ErrorCode::REQUEST_TIMED_OUT, Step::CommitOffsets) => Self::Elsewhere,
            // It may have been done (T4), and doing it twice is doing it once.
            (ErrorCode::UNKNOWN_SERVER_ERROR, Step::End | Step::Init) => Self::Again,
            (code, _) if code.is_retriable() => Self::Again,
            (ErrorCode::PRODUCER_FENCED, _) => Self::Fenced,
            // What a partition's leader or a group's coordinator says of an epoch that is not the newest one it knows.
            // Whether the producer was fenced, the transaction's coordinator tells when it is asked to abort (KIP-588).
            (ErrorCode::INVALID_PRODUCER_EPOCH, Step::CommitOffsets | Step::Produce) => Self::Abort { bump: false },
            (super::FORGOTTEN, Step::CommitOffsets | Step::Produce) => Self::Abort { bump: false },
            // How older coordinators say “fenced”.
            (ErrorCode::INVALID_PRODUCER_EPOCH | super::FORGOTTEN, _) => Self::Fenced,
            (_, Step::Init) => Self::Fatal,
            (ErrorCode::UNKNOWN_PRODUCER_ID, _) => Self::Abort { bump: true },
            (ErrorCode::INVALID_TXN_STATE, Step::End | Step::AddPartitions | Step::AddOffsets)
            | (
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
                | ErrorCode::UNSUPPORTED_VERSION
                | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
                _,
            ) => Self::Fatal,
            (ErrorCode::TRANSACTION_ABORTABLE, _) => Self::Abort { bump: false }, // KIP-890
            (_, Step::End) => Self::Fatal,
            _ => Self::Abort { bump: false },
        }
    }
}
