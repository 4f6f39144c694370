//! Fetch.

use super::prelude::*;

message! {
    /// FetchRequest
    request FetchRequest = FETCH, versions 4..=18, flexible 12 => FetchResponse {
        cluster_id: Option<Str>                    => since(12).nullable(12).tag(0).ignorable(),
        replica_id: i32 = -1                       => versions(0, 14),
        replica_state: ReplicaState                => since(15).tag(1),
        max_wait_ms: i32                           => since(0),
        min_bytes: i32                             => since(0),
        max_bytes: i32 = i32::MAX                  => since(3).ignorable(),
        isolation_level: i8                        => since(4).ignorable(),
        session_id: i32                            => since(7).ignorable(),
        session_epoch: i32 = -1                    => since(7).ignorable(),
        topics: Vec<FetchTopic>                    => since(0),
        forgotten_topics_data: Vec<ForgottenTopic> => since(7),
        rack_id: Str                               => since(11).ignorable(),
    }

    /// ReplicaState
    struct ReplicaState {
        replica_id: i32 = -1    => since(15),
        replica_epoch: i64 = -1 => since(15),
    }

    /// FetchTopic
    struct FetchTopic {
        topic: Str                      => versions(0, 12).ignorable(),
        topic_id: Uuid                  => since(13).ignorable(),
        partitions: Vec<FetchPartition> => since(0),
    }

    /// ForgottenTopic
    struct ForgottenTopic {
        topic: Str           => versions(7, 12).ignorable(),
        topic_id: Uuid       => since(13).ignorable(),
        partitions: Vec<i32> => since(7),
    }

    /// FetchPartition
    struct FetchPartition {
        partition: i32                 => since(0),
        current_leader_epoch: i32 = -1 => since(9).ignorable(),
        fetch_offset: i64              => since(0),
        last_fetched_epoch: i32 = -1   => since(12),
        log_start_offset: i64 = -1     => since(5).ignorable(),
        partition_max_bytes: i32       => since(0),
        replica_directory_id: Uuid     => since(17).tag(0).ignorable(),
        high_watermark: i64 = i64::MAX => since(18).tag(1).ignorable(),
    }
}

message! {
    /// FetchResponse
    response FetchResponse, versions 4..=18, flexible 12 {
        throttle_time_ms: i32                  => since(1).ignorable(),
        error_code: ErrorCode                  => since(7).ignorable(),
        session_id: i32                        => since(7),
        responses: Vec<FetchableTopicResponse> => since(0),
        node_endpoints: Vec<FetchNodeEndpoint> => since(16).tag(0),
    }

    /// FetchableTopicResponse
    struct FetchableTopicResponse {
        topic: Str                     => versions(0, 12).ignorable(),
        topic_id: Uuid                 => since(13).ignorable(),
        partitions: Vec<PartitionData> => since(0),
    }

    /// FetchNodeEndpoint
    struct FetchNodeEndpoint {
        node_id: i32      => since(16),
        host: Str         => since(16),
        port: i32         => since(16),
        rack: Option<Str> => since(16).nullable(16),
    }

    /// PartitionData
    struct PartitionData {
        partition_index: i32                                 => since(0),
        error_code: ErrorCode                                => since(0),
        high_watermark: i64                                  => since(0),
        last_stable_offset: i64 = -1                         => since(4).ignorable(),
        log_start_offset: i64 = -1                           => since(5).ignorable(),
        diverging_epoch: FetchEpochEndOffset                 => since(12).tag(0),
        current_leader: FetchLeaderIdAndEpoch                => since(12).tag(1),
        snapshot_id: SnapshotId                              => since(12).tag(2),
        aborted_transactions: Option<Vec<AbortedTransaction>> = empty() => since(4).nullable(4).ignorable(),
        preferred_read_replica: i32 = -1                     => since(11),
        records: Option<Records>                             => since(0).nullable(0),
    }

    /// FetchEpochEndOffset
    struct FetchEpochEndOffset {
        epoch: i32 = -1      => since(12),
        end_offset: i64 = -1 => since(12),
    }

    /// FetchLeaderIdAndEpoch
    struct FetchLeaderIdAndEpoch {
        leader_id: i32 = -1    => since(12),
        leader_epoch: i32 = -1 => since(12),
    }

    /// SnapshotId
    struct SnapshotId {
        end_offset: i64 = -1 => since(0),
        epoch: i32 = -1      => since(0),
    }

    /// AbortedTransaction
    struct AbortedTransaction {
        producer_id: i64  => since(4),
        first_offset: i64 => since(4),
    }
}
