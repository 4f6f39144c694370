//! The producer's identity: an id and an epoch (KIP-98, KIP-360).

use super::prelude::*;

message! {
    /// Asks for a producer id, or for the next epoch of one. Version 6 (KIP-939) is unstable.
    request InitProducerIdRequest = INIT_PRODUCER_ID, versions 0..=6, unstable 6, flexible 2 => InitProducerIdResponse {
        /// The transactional id; null without transactions.
        transactional_id: Option<Str> = empty() => since(0).nullable(0).entity(TransactionalId),
        /// After how many idle milliseconds the coordinator aborts a transaction.
        transaction_timeout_ms: i32             => since(0),
        /// The id that the producer has, or −1 for a new one.
        producer_id: i64 = -1                   => since(3).entity(ProducerId),
        /// The epoch that the producer has, or −1.
        producer_epoch: i16 = -1                => since(3),
        /// Whether the transaction takes part in a two-phase commit (KIP-939).
        enable_2pc: bool                        => since(6),
        /// Whether an open transaction stays open (KIP-939).
        keep_prepared_txn: bool                 => since(6),
    }
}

message! {
    /// The producer id and epoch to stamp batches with.
    response InitProducerIdResponse, versions 0..=6, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0).ignorable(),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// The producer id, or −1.
        producer_id: i64 = -1                => since(0).entity(ProducerId),
        /// The producer's epoch, or −1.
        producer_epoch: i16                  => since(0),
        /// The producer id of the open transaction, or −1.
        ongoing_txn_producer_id: i64 = -1    => since(6).entity(ProducerId),
        /// The epoch of the open transaction, or −1.
        ongoing_txn_producer_epoch: i16 = -1 => since(6),
    }
}
