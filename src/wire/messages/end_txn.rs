//! The end of a transaction (KIP-98, KIP-890).

use super::prelude::*;

message! {
    /// Commits or aborts the transaction. Version 5 gives every transaction an epoch of its own (KIP-890).
    request EndTxnRequest = END_TXN, versions 0..=5, flexible 3 => EndTxnResponse {
        /// The transactional id.
        transactional_id: Str => since(0).entity(TransactionalId),
        /// The producer id.
        producer_id: i64      => since(0).entity(ProducerId),
        /// The producer's epoch; an old one is fenced.
        producer_epoch: i16   => since(0),
        /// Whether to commit; otherwise to abort.
        committed: bool       => since(0),
    }
}

message! {
    /// Whether the decision was taken, and since version 5 the identity to go on with.
    response EndTxnResponse, versions 0..=5, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32    => since(0),
        /// The error, or none.
        error_code: ErrorCode    => since(0),
        /// The producer id for the next transaction, or −1.
        producer_id: i64 = -1    => since(5).ignorable().entity(ProducerId),
        /// The epoch for the next transaction, or −1.
        producer_epoch: i16 = -1 => since(5).ignorable(),
    }
}
