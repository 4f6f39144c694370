//! Offsets that are committed with a transaction (KIP-98, KIP-447).

use super::prelude::*;

message! {
    /// Hands a group's offsets to its coordinator, to count once the transaction is committed. From version 5 on it
    /// adds the group to the transaction too (KIP-890); version 6 (Kafka 4.4) names topics by id only (KIP-1319).
    request TxnOffsetCommitRequest = TXN_OFFSET_COMMIT, versions 0..=6, flexible 3 => TxnOffsetCommitResponse {
        /// The transactional id.
        transactional_id: Str                    => since(0).entity(TransactionalId),
        /// The group.
        group_id: Str                            => since(0).entity(GroupId),
        /// The producer id.
        producer_id: i64                         => since(0).entity(ProducerId),
        /// The producer's epoch; an old one is fenced.
        producer_epoch: i16                      => since(0),
        /// The generation under the classic protocol, the member's epoch under KIP-848; −1 outside a group. An old one
        /// is fenced (KIP-447).
        generation_id_or_member_epoch: i32 = -1  => since(3),
        /// The member; empty outside a group.
        member_id: Str                           => since(3),
        /// The name of a static member (KIP-345); null for others.
        group_instance_id: Option<Str>           => since(3).nullable(3),
        /// The offsets, by topic.
        topics: Vec<TxnOffsetCommitRequestTopic> => since(0),
    }

    /// The offsets of one topic.
    struct TxnOffsetCommitRequestTopic {
        /// The topic's name.
        name: Str                                        => versions(0, 5).ignorable().entity(TopicName),
        /// The topic's id.
        topic_id: Uuid                                   => since(6).ignorable(),
        /// The offset of each partition.
        partitions: Vec<TxnOffsetCommitRequestPartition> => since(0),
    }

    /// The offset of one partition.
    struct TxnOffsetCommitRequestPartition {
        /// The partition.
        partition_index: i32                      => since(0),
        /// The offset of the next record to read.
        committed_offset: i64                     => since(0),
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1          => since(2).ignorable(),
        /// A note kept with the offset.
        committed_metadata: Option<Str> = empty() => since(0).nullable(0),
    }
}

message! {
    /// Whether each offset was taken.
    response TxnOffsetCommitResponse, versions 0..=6, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                     => since(0),
        /// The outcome for each topic.
        topics: Vec<TxnOffsetCommitResponseTopic> => since(0),
    }

    /// The outcome for one topic.
    struct TxnOffsetCommitResponseTopic {
        /// The topic's name.
        name: Str                                         => versions(0, 5).ignorable().entity(TopicName),
        /// The topic's id.
        topic_id: Uuid                                    => since(6).ignorable(),
        /// The outcome for each partition.
        partitions: Vec<TxnOffsetCommitResponsePartition> => since(0),
    }

    /// The outcome for one partition.
    struct TxnOffsetCommitResponsePartition {
        /// The partition.
        partition_index: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
