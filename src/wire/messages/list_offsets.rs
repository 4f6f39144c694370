//! ListOffsets.

use super::prelude::*;

message! {
    /// ListOffsetsRequest
    request ListOffsetsRequest = LIST_OFFSETS, versions 1..=11, flexible 6 => ListOffsetsResponse {
        replica_id: i32               => since(0),
        isolation_level: i8           => since(2),
        topics: Vec<ListOffsetsTopic> => since(0),
        timeout_ms: i32               => since(10).ignorable(),
    }

    /// ListOffsetsTopic
    struct ListOffsetsTopic {
        name: Str                             => since(0),
        partitions: Vec<ListOffsetsPartition> => since(0),
    }

    /// ListOffsetsPartition
    struct ListOffsetsPartition {
        partition_index: i32           => since(0),
        current_leader_epoch: i32 = -1 => since(4).ignorable(),
        timestamp: i64                 => since(0),
    }
}

message! {
    /// ListOffsetsResponse
    response ListOffsetsResponse, versions 1..=11, flexible 6 {
        throttle_time_ms: i32                 => since(2).ignorable(),
        topics: Vec<ListOffsetsTopicResponse> => since(0),
    }

    /// ListOffsetsTopicResponse
    struct ListOffsetsTopicResponse {
        name: Str                                     => since(0),
        partitions: Vec<ListOffsetsPartitionResponse> => since(0),
    }

    /// ListOffsetsPartitionResponse
    struct ListOffsetsPartitionResponse {
        partition_index: i32   => since(0),
        error_code: ErrorCode  => since(0),
        timestamp: i64 = -1    => since(1),
        offset: i64 = -1       => since(1),
        leader_epoch: i32 = -1 => since(4),
    }
}
