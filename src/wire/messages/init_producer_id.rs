//! InitProducerId.

use super::prelude::*;

message! {
    /// InitProducerIdRequest
    request InitProducerIdRequest = INIT_PRODUCER_ID, versions 0..=6, unstable 6, flexible 2 => InitProducerIdResponse {
        transactional_id: Option<Str> = empty() => since(0).nullable(0),
        transaction_timeout_ms: i32             => since(0),
        producer_id: i64 = -1                   => since(3),
        producer_epoch: i16 = -1                => since(3),
        enable_2pc: bool                        => since(6),
        keep_prepared_txn: bool                 => since(6),
    }
}

message! {
    /// InitProducerIdResponse
    response InitProducerIdResponse, versions 0..=6, flexible 2 {
        throttle_time_ms: i32                => since(0).ignorable(),
        error_code: ErrorCode                => since(0),
        producer_id: i64 = -1                => since(0),
        producer_epoch: i16                  => since(0),
        ongoing_txn_producer_id: i64 = -1    => since(6),
        ongoing_txn_producer_epoch: i16 = -1 => since(6),
    }
}
