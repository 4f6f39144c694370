//! How far share groups have come (KIP-932).

use super::prelude::*;

message! {
    /// Asks the coordinator where share groups stand.
    request DescribeShareGroupOffsetsRequest = DESCRIBE_SHARE_GROUP_OFFSETS, versions 0..=1, flexible 0
        => DescribeShareGroupOffsetsResponse {
        /// The groups.
        groups: Vec<DescribeShareGroupOffsetsRequestGroup> => since(0),
    }

    /// What is asked about one group.
    struct DescribeShareGroupOffsetsRequestGroup {
        /// The group.
        group_id: Str                                                        => since(0).entity(GroupId),
        /// The topics asked about; null is all.
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>> = empty() => since(0).nullable(0),
    }

    /// The partitions of one topic.
    struct DescribeShareGroupOffsetsRequestTopic {
        /// The topic's name.
        topic_name: Str      => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// Where they stand. Version 1 tells how far they are behind (KIP-1226).
    response DescribeShareGroupOffsetsResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                               => since(0),
        /// Where each group stands.
        groups: Vec<DescribeShareGroupOffsetsResponseGroup> => since(0),
    }

    /// Where one group stands.
    struct DescribeShareGroupOffsetsResponseGroup {
        /// The group.
        group_id: Str                                       => since(0).entity(GroupId),
        /// The topics.
        topics: Vec<DescribeShareGroupOffsetsResponseTopic> => since(0),
        /// The error, or none.
        error_code: ErrorCode                               => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                          => since(0).nullable(0),
    }

    /// Where the group stands in one topic.
    struct DescribeShareGroupOffsetsResponseTopic {
        /// The topic's name.
        topic_name: Str                                             => since(0).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                              => since(0),
        /// The partitions.
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition> => since(0),
    }

    /// Where the group stands in one partition.
    struct DescribeShareGroupOffsetsResponsePartition {
        /// The partition.
        partition_index: i32       => since(0),
        /// The first offset that the group is not done with, or −1 if there is none.
        start_offset: i64          => since(0),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32          => since(0),
        /// How many records the group is not done with, or −1.
        lag: i64 = -1              => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(0).nullable(0),
    }
}
