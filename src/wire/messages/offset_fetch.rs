//! How far a group has read.

use super::prelude::*;

message! {
    /// Asks the coordinator for committed offsets: of one group before version 8, of several since (KIP-709).
    request OffsetFetchRequest = OFFSET_FETCH, versions 1..=10, flexible 6 => OffsetFetchResponse {
        /// The group.
        group_id: Str                                          => versions(0, 7).entity(GroupId),
        /// The topics asked about; null is all.
        topics: Option<Vec<OffsetFetchRequestTopic>> = empty() => versions(0, 7).nullable(2),
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup>                   => since(8),
        /// Whether to refuse offsets that an open transaction may still change (KIP-447).
        require_stable: bool                                   => since(7),
    }

    /// The partitions of one topic.
    struct OffsetFetchRequestTopic {
        /// The topic's name.
        name: Str                   => versions(0, 7).entity(TopicName),
        /// The partitions.
        partition_indexes: Vec<i32> => versions(0, 7),
    }

    /// What is asked about one group.
    struct OffsetFetchRequestGroup {
        /// The group.
        group_id: Str                                           => since(8).entity(GroupId),
        /// The member under KIP-848; null otherwise.
        member_id: Option<Str>                                  => since(9).nullable(9).ignorable(),
        /// The member's epoch under KIP-848, or −1.
        member_epoch: i32 = -1                                  => since(9).ignorable(),
        /// The topics asked about; null is all.
        topics: Option<Vec<OffsetFetchRequestTopics>> = empty() => since(8).nullable(8),
    }

    /// The partitions of one topic.
    struct OffsetFetchRequestTopics {
        /// The topic's name.
        name: Str                   => versions(8, 9).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid              => since(10).ignorable(),
        /// The partitions.
        partition_indexes: Vec<i32> => since(8),
    }
}

message! {
    /// The committed offsets.
    response OffsetFetchResponse, versions 1..=10, flexible 6 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(3).ignorable(),
        /// The topics.
        topics: Vec<OffsetFetchResponseTopic> => versions(0, 7),
        /// The error, or none.
        error_code: ErrorCode                 => versions(2, 7).ignorable(),
        /// The groups.
        groups: Vec<OffsetFetchResponseGroup> => since(8),
    }

    /// The offsets of one topic.
    struct OffsetFetchResponseTopic {
        /// The topic's name.
        name: Str                                     => versions(0, 7).entity(TopicName),
        /// The partitions.
        partitions: Vec<OffsetFetchResponsePartition> => versions(0, 7),
    }

    /// The offsets of one group.
    struct OffsetFetchResponseGroup {
        /// The group.
        group_id: Str                          => since(8).entity(GroupId),
        /// The topics.
        topics: Vec<OffsetFetchResponseTopics> => since(8),
        /// The error, or none.
        error_code: ErrorCode                  => since(8),
    }

    /// The offset of one partition.
    struct OffsetFetchResponsePartition {
        /// The partition.
        partition_index: i32             => versions(0, 7),
        /// The committed offset, or −1 if there is none.
        committed_offset: i64            => versions(0, 7),
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1 => versions(5, 7).ignorable(),
        /// A note kept with the offset.
        metadata: Option<Str> = empty()  => versions(0, 7).nullable(0),
        /// The error, or none.
        error_code: ErrorCode            => versions(0, 7),
    }

    /// The offsets of one topic.
    struct OffsetFetchResponseTopics {
        /// The topic's name.
        name: Str                                      => versions(8, 9).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                 => since(10).ignorable(),
        /// The partitions.
        partitions: Vec<OffsetFetchResponsePartitions> => since(8),
    }

    /// The offset of one partition.
    struct OffsetFetchResponsePartitions {
        /// The partition.
        partition_index: i32             => since(8),
        /// The committed offset, or −1 if there is none.
        committed_offset: i64            => since(8),
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1 => since(8).ignorable(),
        /// A note kept with the offset.
        metadata: Option<Str> = empty()  => since(8).nullable(8),
        /// The error, or none.
        error_code: ErrorCode            => since(8),
    }
}
