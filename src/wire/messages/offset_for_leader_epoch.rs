//! Where a leader epoch ended: how a reader notices that the log was cut (KIP-320).

use super::prelude::*;

message! {
    /// Asks leaders for the end offsets of epochs.
    request OffsetForLeaderEpochRequest = OFFSET_FOR_LEADER_EPOCH, versions 2..=4, flexible 4 => OffsetForLeaderEpochResponse {
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32 = -2              => since(3).ignorable().entity(BrokerId),
        /// The topics.
        topics: Vec<OffsetForLeaderTopic> => since(0),
    }

    /// The partitions of one topic.
    struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: Str                                => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<OffsetForLeaderPartition> => since(0),
    }

    /// The epoch asked about.
    struct OffsetForLeaderPartition {
        /// The partition.
        partition: i32                 => since(0),
        /// The leader epoch that the client knows, or −1; an old one is fenced.
        current_leader_epoch: i32 = -1 => since(2).ignorable(),
        /// The epoch asked about.
        leader_epoch: i32              => since(0),
    }
}

message! {
    /// The end offset of each epoch asked about.
    response OffsetForLeaderEpochResponse, versions 2..=4, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                   => since(2).ignorable(),
        /// The topics.
        topics: Vec<OffsetForLeaderTopicResult> => since(0),
    }

    /// The answers for one topic.
    struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: Str                      => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<EpochEndOffset> => since(0),
    }

    /// Where an epoch ended.
    struct EpochEndOffset {
        /// The error, or none.
        error_code: ErrorCode  => since(0),
        /// The partition.
        partition: i32         => since(0),
        /// The largest epoch up to the one asked about that the leader has, or −1.
        leader_epoch: i32 = -1 => since(1).ignorable(),
        /// The offset after its last record, or −1.
        end_offset: i64 = -1   => since(0),
    }
}
