//! Which offset a point in time has.

use super::prelude::*;

message! {
    /// Asks leaders for the offset of a timestamp, or of the beginning or end of a partition.
    request ListOffsetsRequest = LIST_OFFSETS, versions 1..=11, flexible 6 => ListOffsetsResponse {
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32               => since(0).entity(BrokerId),
        /// 0 to read all records, 1 to read only those that are committed.
        isolation_level: i8           => since(2),
        /// The topics.
        topics: Vec<ListOffsetsTopic> => since(0),
        /// How many milliseconds a look into tiered storage may take.
        timeout_ms: i32               => since(10).ignorable(),
    }

    /// The partitions of one topic.
    struct ListOffsetsTopic {
        /// The topic's name.
        name: Str                             => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<ListOffsetsPartition> => since(0),
    }

    /// What is asked about one partition.
    struct ListOffsetsPartition {
        /// The partition.
        partition_index: i32           => since(0),
        /// The leader epoch that the client knows, or −1; an old one is fenced.
        current_leader_epoch: i32 = -1 => since(4).ignorable(),
        /// Milliseconds since 1970, or −1 the end, −2 the beginning, −3 the record with the highest timestamp, −4 the
        /// local beginning, −5 the end of what is tiered, −6 the first that is not.
        timestamp: i64                 => since(0),
    }
}

message! {
    /// The offset for each partition asked about.
    response ListOffsetsResponse, versions 1..=11, flexible 6 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(2).ignorable(),
        /// The topics.
        topics: Vec<ListOffsetsTopicResponse> => since(0),
    }

    /// The answers for one topic.
    struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: Str                                     => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<ListOffsetsPartitionResponse> => since(0),
    }

    /// The answer for one partition.
    struct ListOffsetsPartitionResponse {
        /// The partition.
        partition_index: i32   => since(0),
        /// The error, or none.
        error_code: ErrorCode  => since(0),
        /// The timestamp of the record found, or −1.
        timestamp: i64 = -1    => since(1),
        /// The offset found, or −1.
        offset: i64 = -1       => since(1),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1 => since(4),
    }
}
