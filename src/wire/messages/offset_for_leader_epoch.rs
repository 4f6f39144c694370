//! OffsetForLeaderEpoch.

use super::prelude::*;

message! {
    /// OffsetForLeaderEpochRequest
    request OffsetForLeaderEpochRequest = OFFSET_FOR_LEADER_EPOCH, versions 2..=4, flexible 4 => OffsetForLeaderEpochResponse {
        replica_id: i32 = -2              => since(3).ignorable(),
        topics: Vec<OffsetForLeaderTopic> => since(0),
    }

    /// OffsetForLeaderTopic
    struct OffsetForLeaderTopic {
        topic: Str                                => since(0),
        partitions: Vec<OffsetForLeaderPartition> => since(0),
    }

    /// OffsetForLeaderPartition
    struct OffsetForLeaderPartition {
        partition: i32                 => since(0),
        current_leader_epoch: i32 = -1 => since(2).ignorable(),
        leader_epoch: i32              => since(0),
    }
}

message! {
    /// OffsetForLeaderEpochResponse
    response OffsetForLeaderEpochResponse, versions 2..=4, flexible 4 {
        throttle_time_ms: i32                   => since(2).ignorable(),
        topics: Vec<OffsetForLeaderTopicResult> => since(0),
    }

    /// OffsetForLeaderTopicResult
    struct OffsetForLeaderTopicResult {
        topic: Str                      => since(0),
        partitions: Vec<EpochEndOffset> => since(0),
    }

    /// EpochEndOffset
    struct EpochEndOffset {
        error_code: ErrorCode  => since(0),
        partition: i32         => since(0),
        leader_epoch: i32 = -1 => since(1).ignorable(),
        end_offset: i64 = -1   => since(0),
    }
}
