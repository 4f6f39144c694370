//! Deleting the oldest records of partitions (KIP-107).

use super::prelude::*;

message! {
    /// Asks leaders to forget all records before an offset.
    request DeleteRecordsRequest = DELETE_RECORDS, versions 0..=2, flexible 2 => DeleteRecordsResponse {
        /// The topics.
        topics: Vec<DeleteRecordsTopic> => since(0),
        /// How many milliseconds the broker may take.
        timeout_ms: i32                 => since(0),
    }

    /// The partitions of one topic.
    struct DeleteRecordsTopic {
        /// The topic's name.
        name: Str                               => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<DeleteRecordsPartition> => since(0),
    }

    /// Up to where records are deleted.
    struct DeleteRecordsPartition {
        /// The partition.
        partition_index: i32 => since(0),
        /// The first offset to keep; −1 for the high watermark.
        offset: i64          => since(0),
    }
}

message! {
    /// The first offset that each partition still has.
    response DeleteRecordsResponse, versions 0..=2, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(0),
        /// The outcome for each topic.
        topics: Vec<DeleteRecordsTopicResult> => since(0),
    }

    /// The outcome for one topic.
    struct DeleteRecordsTopicResult {
        /// The topic's name.
        name: Str                                     => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<DeleteRecordsPartitionResult> => since(0),
    }

    /// The outcome for one partition.
    struct DeleteRecordsPartitionResult {
        /// The partition.
        partition_index: i32  => since(0),
        /// The first offset that the partition still has.
        low_watermark: i64    => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
