//! Adding partitions to topics (KIP-195).

use super::prelude::*;

message! {
    /// Asks the controller to add partitions.
    request CreatePartitionsRequest = CREATE_PARTITIONS, versions 0..=3, flexible 2 => CreatePartitionsResponse {
        /// The topics.
        topics: Vec<CreatePartitionsTopic> => since(0),
        /// How many milliseconds the broker may take.
        timeout_ms: i32                    => since(0),
        /// Whether to check only.
        validate_only: bool                => since(0),
    }

    /// A topic that gets more partitions.
    struct CreatePartitionsTopic {
        /// The topic's name.
        name: Str                                                    => since(0).entity(TopicName),
        /// How many partitions the topic shall have in all.
        count: i32                                                   => since(0),
        /// Which brokers each new partition is put on; null leaves it to the controller.
        assignments: Option<Vec<CreatePartitionsAssignment>> = empty() => since(0).nullable(0),
    }

    /// Which brokers a new partition is put on.
    struct CreatePartitionsAssignment {
        /// The brokers; the first leads.
        broker_ids: Vec<i32> => since(0).entity(BrokerId),
    }
}

message! {
    /// What became of each topic.
    response CreatePartitionsResponse, versions 0..=3, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                     => since(0),
        /// What became of each topic.
        results: Vec<CreatePartitionsTopicResult> => since(0),
    }

    /// What became of a topic.
    struct CreatePartitionsTopicResult {
        /// The topic's name.
        name: Str                  => since(0).entity(TopicName),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(0).nullable(0),
    }
}
