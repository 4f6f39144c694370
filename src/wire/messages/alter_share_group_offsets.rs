//! Moving a share group to other offsets (KIP-932).

use super::prelude::*;

message! {
    /// Asks the coordinator to move a share group that has no members.
    request AlterShareGroupOffsetsRequest = ALTER_SHARE_GROUP_OFFSETS, versions 0..=0, flexible 0
        => AlterShareGroupOffsetsResponse {
        /// The group.
        group_id: Str                                   => since(0).entity(GroupId),
        /// The topics.
        topics: Vec<AlterShareGroupOffsetsRequestTopic> => since(0),
    }

    /// The offsets of one topic.
    struct AlterShareGroupOffsetsRequestTopic {
        /// The topic's name.
        topic_name: Str                                         => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<AlterShareGroupOffsetsRequestPartition> => since(0),
    }

    /// The offset of one partition.
    struct AlterShareGroupOffsetsRequestPartition {
        /// The partition.
        partition_index: i32 => since(0),
        /// The offset that the group shall go on from.
        start_offset: i64    => since(0),
    }
}

message! {
    /// The outcome for each topic.
    response AlterShareGroupOffsetsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                               => since(0),
        /// The error, or none.
        error_code: ErrorCode                               => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                          => since(0).nullable(0),
        /// The outcome for each topic.
        responses: Vec<AlterShareGroupOffsetsResponseTopic> => since(0),
    }

    /// The outcome for one topic.
    struct AlterShareGroupOffsetsResponseTopic {
        /// The topic's name.
        topic_name: Str                                          => since(0).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                           => since(0),
        /// The partitions.
        partitions: Vec<AlterShareGroupOffsetsResponsePartition> => since(0),
    }

    /// The outcome for one partition.
    struct AlterShareGroupOffsetsResponsePartition {
        /// The partition.
        partition_index: i32       => since(0),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(0).nullable(0),
    }
}
