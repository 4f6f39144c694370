//! Ending transactions in the partitions they wrote. Coordinators send it, and whoever aborts a hanging transaction
//! (KIP-98, KIP-664).

use super::prelude::*;

message! {
    /// Asks leaders to write the marker that commits or aborts a producer's transaction.
    request WriteTxnMarkersRequest = WRITE_TXN_MARKERS, versions 1..=2, flexible 1 => WriteTxnMarkersResponse {
        /// The markers.
        markers: Vec<WritableTxnMarker> => since(0),
    }

    /// The end of one producer's transaction.
    struct WritableTxnMarker {
        /// The producer id.
        producer_id: i64                    => since(0).entity(ProducerId),
        /// The producer's epoch.
        producer_epoch: i16                 => since(0),
        /// Whether the transaction is committed; otherwise it is aborted.
        transaction_result: bool            => since(0),
        /// The partitions to write the marker to, by topic.
        topics: Vec<WritableTxnMarkerTopic> => since(0),
        /// The leader epoch of the coordinator's partition of `__transaction_state`; a partition refuses an older one
        /// than it has seen.
        coordinator_epoch: i32              => since(0),
        /// The `transaction.version` of the transaction: 0 or 1 without, 2 with an epoch for every transaction
        /// (KIP-1228).
        transaction_version: i8             => since(2).ignorable(),
    }

    /// The partitions of one topic.
    struct WritableTxnMarkerTopic {
        /// The topic's name.
        name: Str                   => since(0).entity(TopicName),
        /// The partitions.
        partition_indexes: Vec<i32> => since(0),
    }
}

message! {
    /// Where the markers stand.
    response WriteTxnMarkersResponse, versions 1..=2, flexible 1 {
        /// The outcome for each producer.
        markers: Vec<WritableTxnMarkerResult> => since(0),
    }

    /// The outcome for one producer.
    struct WritableTxnMarkerResult {
        /// The producer id.
        producer_id: i64                          => since(0).entity(ProducerId),
        /// The outcome for each topic.
        topics: Vec<WritableTxnMarkerTopicResult> => since(0),
    }

    /// The outcome for one topic.
    struct WritableTxnMarkerTopicResult {
        /// The topic's name.
        name: Str                                         => since(0).entity(TopicName),
        /// The outcome for each partition.
        partitions: Vec<WritableTxnMarkerPartitionResult> => since(0),
    }

    /// The outcome for one partition.
    struct WritableTxnMarkerPartitionResult {
        /// The partition.
        partition_index: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
