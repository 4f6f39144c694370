//! Storing how far a group has read.

use super::prelude::*;

message! {
    /// Hands a group's offsets to its coordinator.
    request OffsetCommitRequest = OFFSET_COMMIT, versions 2..=10, flexible 8 => OffsetCommitResponse {
        /// The group.
        group_id: Str                           => since(0).entity(GroupId),
        /// The generation under the classic protocol, the member's epoch under KIP-848; −1 outside a group.
        generation_id_or_member_epoch: i32 = -1 => since(1).ignorable(),
        /// The member; empty on first contact.
        member_id: Str                          => since(1).ignorable(),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str>          => since(7).nullable(7),
        /// How many milliseconds the offsets are kept; −1 for the broker's default.
        retention_time_ms: i64 = -1             => versions(2, 4).ignorable(),
        /// The topics.
        topics: Vec<OffsetCommitRequestTopic>   => since(0),
    }

    /// The offsets of one topic.
    struct OffsetCommitRequestTopic {
        /// The topic's name.
        name: Str                                     => versions(0, 9).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                => since(10).ignorable(),
        /// The partitions.
        partitions: Vec<OffsetCommitRequestPartition> => since(0),
    }

    /// The offset of one partition.
    struct OffsetCommitRequestPartition {
        /// The partition.
        partition_index: i32                      => since(0),
        /// The offset of the next record to read.
        committed_offset: i64                     => since(0),
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1          => since(6).ignorable(),
        /// A note kept with the offset.
        committed_metadata: Option<Str> = empty() => since(0).nullable(0),
    }
}

message! {
    /// Whether each offset was stored.
    response OffsetCommitResponse, versions 2..=10, flexible 8 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                  => since(3).ignorable(),
        /// The topics.
        topics: Vec<OffsetCommitResponseTopic> => since(0),
    }

    /// The outcome for one topic.
    struct OffsetCommitResponseTopic {
        /// The topic's name.
        name: Str                                      => versions(0, 9).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                 => since(10).ignorable(),
        /// The partitions.
        partitions: Vec<OffsetCommitResponsePartition> => since(0),
    }

    /// The outcome for one partition.
    struct OffsetCommitResponsePartition {
        /// The partition.
        partition_index: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
