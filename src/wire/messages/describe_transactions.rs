//! What the coordinators know of transactions (KIP-664).

use super::prelude::*;

message! {
    /// Asks the coordinator about its transactions.
    request DescribeTransactionsRequest = DESCRIBE_TRANSACTIONS, versions 0..=0, flexible 0
        => DescribeTransactionsResponse {
        /// The transactional ids; none asks about none.
        transactional_ids: Vec<Str> => since(0).entity(TransactionalId),
    }
}

message! {
    /// The transactions.
    response DescribeTransactionsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                        => since(0),
        /// The transactions.
        transaction_states: Vec<DescribeTransactionsTransactionState> => since(0),
    }

    /// A transaction.
    struct DescribeTransactionsTransactionState {
        /// The error, or none.
        error_code: ErrorCode                      => since(0),
        /// The transactional id.
        transactional_id: Str                      => since(0).entity(TransactionalId),
        /// Its state, such as `Ongoing`.
        transaction_state: Str                     => since(0),
        /// After how many milliseconds the coordinator aborts it.
        transaction_timeout_ms: i32                => since(0),
        /// When it began, in milliseconds since 1970; negative if none is open.
        transaction_start_time_ms: i64             => since(0),
        /// The producer id.
        producer_id: i64                           => since(0).entity(ProducerId),
        /// The producer's epoch.
        producer_epoch: i16                        => since(0),
        /// The partitions it wrote; while it ends, those that still lack their marker.
        topics: Vec<DescribeTransactionsTopicData> => since(0),
    }

    /// The partitions of one topic.
    struct DescribeTransactionsTopicData {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}
