//! Brokers fetching producer ids to give away (KIP-730). Brokers send it.

use super::prelude::*;

message! {
    /// Asks the controller for a range of producer ids.
    request AllocateProducerIdsRequest = ALLOCATE_PRODUCER_IDS, versions 0..=0, flexible 0
        => AllocateProducerIdsResponse {
        /// The broker that asks.
        broker_id: i32         => since(0).entity(BrokerId),
        /// Its epoch as a registered broker.
        broker_epoch: i64 = -1 => since(0),
    }
}

message! {
    /// The range.
    response AllocateProducerIdsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode  => since(0),
        /// The first producer id.
        producer_id_start: i64 => since(0).entity(ProducerId),
        /// How many there are.
        producer_id_len: i32   => since(0),
    }
}
