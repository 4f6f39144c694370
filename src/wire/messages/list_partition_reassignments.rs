//! Which partitions are being moved (KIP-455).

use super::prelude::*;

message! {
    /// Asks the controller about moves under way.
    request ListPartitionReassignmentsRequest = LIST_PARTITION_REASSIGNMENTS, versions 0..=0, flexible 0
        => ListPartitionReassignmentsResponse {
        /// How many milliseconds the controller may take.
        timeout_ms: i32 = 60000                               => since(0),
        /// The topics asked about; null is all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>> => since(0).nullable(0),
    }

    /// The partitions of one topic.
    struct ListPartitionReassignmentsTopics {
        /// The topic's name.
        name: Str                   => since(0).entity(TopicName),
        /// The partitions.
        partition_indexes: Vec<i32> => since(0),
    }
}

message! {
    /// The moves under way.
    response ListPartitionReassignmentsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(0),
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()  => since(0).nullable(0),
        /// The topics that have some.
        topics: Vec<OngoingTopicReassignment> => since(0),
    }

    /// The moves of one topic.
    struct OngoingTopicReassignment {
        /// The topic's name.
        name: Str                                     => since(0).entity(TopicName),
        /// The partitions that move.
        partitions: Vec<OngoingPartitionReassignment> => since(0),
    }

    /// The move of one partition.
    struct OngoingPartitionReassignment {
        /// The partition.
        partition_index: i32        => since(0),
        /// All brokers that hold it now, comers and goers among them.
        replicas: Vec<i32>          => since(0).entity(BrokerId),
        /// The brokers that are to hold it and did not.
        adding_replicas: Vec<i32>   => since(0).entity(BrokerId),
        /// The brokers that are to give it up.
        removing_replicas: Vec<i32> => since(0).entity(BrokerId),
    }
}
