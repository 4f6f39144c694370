//! What the machine of a transactional id asks for, hears and tells.

use crate::{
    machine::identity::ProducerId,
    wire::{ErrorCode, Str},
};

use super::{Fencer, Phase};

/// How transactions work in the cluster (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The producer adds partitions and groups to the transaction.
    First,
    /// The brokers add them, and every transaction has an epoch of its own.
    Second,
}

/// A request for a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) producer: ProducerId,
    pub(crate) version: Version,
    /// Who coordinates has to be looked up anew.
    pub(crate) fresh: bool,
}

/// What a coordinator is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// InitProducerId; with the identity that is to be raised, unless this producer is new (KIP-360).
    Init { expected: Option<ProducerId> },
    /// AddPartitionsToTxn.
    AddPartitions(Vec<usize>),
    /// AddOffsetsToTxn, for this group.
    AddOffsets(Str),
    /// TxnOffsetCommit, of the offsets under this number.
    CommitOffsets(u64),
    /// EndTxn.
    End { commit: bool },
    /// DescribeTransactions: who owns the id now.
    Describe,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It was done; with the producer's new identity, where the answer tells one.
    Done(Option<ProducerId>),
    /// It was refused as a whole.
    Refused(ErrorCode),
    /// It was answered part by part: a partition's number, or anything for offsets.
    Parts(Vec<(usize, ErrorCode)>),
    /// Who owns the transactional id, and in which phase its transaction is.
    Described(ProducerId, Phase),
    /// There is no answer.
    Lost { maybe_sent: bool },
    /// The broker has no version of the request that can say this.
    Unsupported,
}

/// What happened, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The producer's identity from now on.
    Identity(ProducerId),
    /// Batches for these partitions may go.
    Added(Vec<usize>),
    /// The offsets under this number are in the transaction, or never will be.
    Offsets(u64, Result<(), Why>),
    /// Nothing but an abort is possible: batches that are not on the wire fail now (KIP-654).
    Aborting(Why),
    /// The transaction is over, or given up on.
    Ended(End),
    /// Nothing works any more. `committed` is what became of the transaction, if one was open and it is known.
    Dead { why: Death, committed: Option<bool> },
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Committed,
    Aborted(Why),
    /// The coordinator did not answer: it may be either, or still open.
    Unknown,
}

/// Why a transaction is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The caller wants it so.
    Wish,
    /// A batch failed.
    Batch,
    /// A step was refused.
    Refused(Step, ErrorCode),
    /// A step was not answered in time.
    TimedOut(Step),
}

/// Why a producer is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    Fenced(Fencer),
    Refused(Step, ErrorCode),
}

/// A step of a transaction, by the request that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Init,
    Produce,
    AddPartitions,
    AddOffsets,
    CommitOffsets,
    End,
    Describe,
}

impl Ask {
    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Init { .. } => Step::Init,
            Self::AddPartitions(_) => Step::AddPartitions,
            Self::AddOffsets(_) => Step::AddOffsets,
            Self::CommitOffsets(_) => Step::CommitOffsets,
            Self::End { .. } => Step::End,
            Self::Describe => Step::Describe,
        }
    }
}
