//! Telling a transaction which partitions it writes (KIP-98, KIP-890).

use super::prelude::*;

message! {
    /// Adds partitions to one transaction (clients, up to version 3), or adds or verifies those of several (brokers,
    /// since version 4).
    request AddPartitionsToTxnRequest = ADD_PARTITIONS_TO_TXN, versions 0..=5, flexible 3
        => AddPartitionsToTxnResponse {
        /// The transactions.
        transactions: Vec<AddPartitionsToTxnTransaction>  => since(4),
        /// The transactional id.
        v3_and_below_transactional_id: Str                => versions(0, 3).entity(TransactionalId),
        /// The producer id.
        v3_and_below_producer_id: i64                     => versions(0, 3).entity(ProducerId),
        /// The producer's epoch; an old one is fenced.
        v3_and_below_producer_epoch: i16                  => versions(0, 3),
        /// The partitions to add, by topic.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> => versions(0, 3),
    }

    /// A transaction and its partitions.
    struct AddPartitionsToTxnTransaction {
        /// The transactional id.
        transactional_id: Str                => since(4).entity(TransactionalId),
        /// The producer id.
        producer_id: i64                     => since(4).entity(ProducerId),
        /// The producer's epoch; an old one is fenced.
        producer_epoch: i16                  => since(4),
        /// Whether to ask only if the partitions are in the transaction, and add none (KIP-890).
        verify_only: bool                    => since(4),
        /// The partitions, by topic.
        topics: Vec<AddPartitionsToTxnTopic> => since(4),
    }

    /// The partitions of one topic.
    struct AddPartitionsToTxnTopic {
        /// The topic's name.
        name: Str            => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// The outcome for each partition.
    response AddPartitionsToTxnResponse, versions 0..=5, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                        => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode                                        => since(4).ignorable(),
        /// The outcome for each transaction.
        results_by_transaction: Vec<AddPartitionsToTxnResult>        => since(4),
        /// The outcome for each topic.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> => versions(0, 3),
    }

    /// The outcome for one transaction.
    struct AddPartitionsToTxnResult {
        /// The transactional id.
        transactional_id: Str                             => since(4).entity(TransactionalId),
        /// The outcome for each topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult> => since(4),
    }

    /// The outcome for one topic.
    struct AddPartitionsToTxnTopicResult {
        /// The topic's name.
        name: Str                                                    => since(0).entity(TopicName),
        /// The outcome for each partition.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult> => since(0),
    }

    /// The outcome for one partition.
    struct AddPartitionsToTxnPartitionResult {
        /// The partition.
        partition_index: i32            => since(0),
        /// The error, or none; if one partition fails, the others are not attempted.
        partition_error_code: ErrorCode => since(0),
    }
}
