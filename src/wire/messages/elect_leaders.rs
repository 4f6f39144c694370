//! Choosing the leaders of partitions anew (KIP-183, KIP-460).

use super::prelude::*;

message! {
    /// Asks the controller to hold elections.
    request ElectLeadersRequest = ELECT_LEADERS, versions 0..=2, flexible 2 => ElectLeadersResponse {
        /// Who is elected: 0 the preferred replica, 1 any live one where none is in sync, at the price of records
        /// (KIP-460).
        election_type: i8                                            => since(1),
        /// The partitions, by topic; null is all.
        topic_partitions: Option<Vec<ElectLeadersTopicPartitions>> = empty() => since(0).nullable(0),
        /// How many milliseconds the elections may take.
        timeout_ms: i32 = 60000                                      => since(0),
    }

    /// The partitions of one topic.
    struct ElectLeadersTopicPartitions {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// The outcome of each election.
    response ElectLeadersResponse, versions 0..=2, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode                                => since(1),
        /// The outcome for each topic; empty if all partitions were asked for and the client may not.
        replica_election_results: Vec<ReplicaElectionResult> => since(0),
    }

    /// The outcome for one topic.
    struct ReplicaElectionResult {
        /// The topic's name.
        topic: Str                                         => since(0).entity(TopicName),
        /// The outcome for each partition.
        partition_result: Vec<ElectLeadersPartitionResult> => since(0),
    }

    /// The outcome for one partition.
    struct ElectLeadersPartitionResult {
        /// The partition.
        partition_id: i32                    => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
