//! Forgetting committed offsets of a group (KIP-496).

use super::prelude::*;

message! {
    /// Asks the coordinator to forget offsets of topics that the group no longer reads. Never flexible.
    request OffsetDeleteRequest = OFFSET_DELETE, versions 0..=0, flexible NEVER => OffsetDeleteResponse {
        /// The group.
        group_id: Str                         => since(0).entity(GroupId),
        /// The topics.
        topics: Vec<OffsetDeleteRequestTopic> => since(0),
    }

    /// The partitions of one topic.
    struct OffsetDeleteRequestTopic {
        /// The topic's name.
        name: Str                                     => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<OffsetDeleteRequestPartition> => since(0),
    }

    /// A partition whose offset is forgotten.
    struct OffsetDeleteRequestPartition {
        /// The partition.
        partition_index: i32 => since(0),
    }
}

message! {
    /// Whether each offset is forgotten.
    response OffsetDeleteResponse, versions 0..=0, flexible NEVER {
        /// The error of the whole request, or none.
        error_code: ErrorCode                  => since(0),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                  => since(0).ignorable(),
        /// The outcome for each topic.
        topics: Vec<OffsetDeleteResponseTopic> => since(0),
    }

    /// The outcome for one topic.
    struct OffsetDeleteResponseTopic {
        /// The topic's name.
        name: Str                                      => since(0).entity(TopicName),
        /// The outcome for each partition.
        partitions: Vec<OffsetDeleteResponsePartition> => since(0),
    }

    /// The outcome for one partition.
    struct OffsetDeleteResponsePartition {
        /// The partition.
        partition_index: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
