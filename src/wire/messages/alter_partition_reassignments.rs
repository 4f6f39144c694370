//! Moving partitions to other brokers (KIP-455).

use super::prelude::*;

message! {
    /// Asks the controller to begin or to cancel moves.
    request AlterPartitionReassignmentsRequest = ALTER_PARTITION_REASSIGNMENTS, versions 0..=1, flexible 0
        => AlterPartitionReassignmentsResponse {
        /// How many milliseconds the controller may take.
        timeout_ms: i32 = 60000                      => since(0),
        /// Whether a move may change how many replicas there are (KIP-860).
        allow_replication_factor_change: bool = true => since(1),
        /// The topics.
        topics: Vec<ReassignableTopic>               => since(0),
    }

    /// The moves of one topic.
    struct ReassignableTopic {
        /// The topic's name.
        name: Str                              => since(0).entity(TopicName),
        /// The move of each partition.
        partitions: Vec<ReassignablePartition> => since(0),
    }

    /// The move of one partition.
    struct ReassignablePartition {
        /// The partition.
        partition_index: i32       => since(0),
        /// The brokers that it shall be on, the preferred leader first; null cancels the move under way.
        replicas: Option<Vec<i32>> => since(0).nullable(0).entity(BrokerId),
    }
}

message! {
    /// Which moves have begun; `ListPartitionReassignments` tells which are still under way.
    response AlterPartitionReassignmentsResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                        => since(0),
        /// Whether a move could change how many replicas there are (KIP-860).
        allow_replication_factor_change: bool = true => since(1).ignorable(),
        /// The error of the whole request, or none.
        error_code: ErrorCode                        => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()         => since(0).nullable(0),
        /// The outcome for each topic.
        responses: Vec<ReassignableTopicResponse>    => since(0),
    }

    /// The outcome for one topic.
    struct ReassignableTopicResponse {
        /// The topic's name.
        name: Str                                      => since(0).entity(TopicName),
        /// The outcome for each partition.
        partitions: Vec<ReassignablePartitionResponse> => since(0),
    }

    /// The outcome for one partition.
    struct ReassignablePartitionResponse {
        /// The partition.
        partition_index: i32                 => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
