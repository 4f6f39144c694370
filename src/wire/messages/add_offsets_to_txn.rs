//! Telling a transaction that it commits offsets of a group (KIP-98).

use super::prelude::*;

message! {
    /// Tells the transaction's coordinator that offsets of a group will be part of the transaction.
    request AddOffsetsToTxnRequest = ADD_OFFSETS_TO_TXN, versions 0..=4, flexible 3 => AddOffsetsToTxnResponse {
        /// The transactional id.
        transactional_id: Str => since(0).entity(TransactionalId),
        /// The producer id.
        producer_id: i64      => since(0).entity(ProducerId),
        /// The producer's epoch; an old one is fenced.
        producer_epoch: i16   => since(0),
        /// The group whose offsets are committed.
        group_id: Str         => since(0).entity(GroupId),
    }
}

message! {
    /// Whether they may.
    response AddOffsetsToTxnResponse, versions 0..=4, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32 => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
