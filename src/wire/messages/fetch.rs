//! Reading record batches.

use super::prelude::*;

message! {
    /// Asks a broker for records from given offsets on, waiting for them a while. Followers use it too.
    request FetchRequest = FETCH, versions 4..=18, flexible 12 => FetchResponse {
        /// The cluster that the reader takes this for.
        cluster_id: Option<Str>                    => since(12).nullable(12).tag(0).ignorable(),
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32 = -1                       => versions(0, 14).entity(BrokerId),
        /// The follower that asks.
        replica_state: ReplicaState                => since(15).tag(1),
        /// How many milliseconds the broker may wait for enough records.
        max_wait_ms: i32                           => since(0),
        /// How many bytes are enough.
        min_bytes: i32                             => since(0),
        /// How many bytes the answer may have; the first batch comes whole even if it is larger (KIP-74).
        max_bytes: i32 = i32::MAX                  => since(3).ignorable(),
        /// 0 to read all records, 1 to read only those that are committed.
        isolation_level: i8                        => since(4).ignorable(),
        /// The fetch session, or 0.
        session_id: i32                            => since(7).ignorable(),
        /// The request's number in the session: 0 opens one, −1 closes it or does without.
        session_epoch: i32 = -1                    => since(7).ignorable(),
        /// The topics.
        topics: Vec<FetchTopic>                    => since(0),
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ForgottenTopic> => since(7),
        /// The reader's rack, so that a near replica can be named (KIP-392).
        rack_id: Str                               => since(11).ignorable(),
    }

    /// Which follower asks (KIP-903).
    struct ReplicaState {
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32 = -1    => since(15).entity(BrokerId),
        /// The follower's epoch, or −1.
        replica_epoch: i64 = -1 => since(15),
    }

    /// The partitions of one topic to read.
    struct FetchTopic {
        /// The topic's name.
        topic: Str                      => versions(0, 12).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                  => since(13).ignorable(),
        /// The partitions.
        partitions: Vec<FetchPartition> => since(0),
    }

    /// Partitions that leave the fetch session.
    struct ForgottenTopic {
        /// The topic's name.
        topic: Str           => versions(7, 12).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid       => since(13).ignorable(),
        /// The partitions that leave.
        partitions: Vec<i32> => since(7),
    }

    /// From where one partition is to be read.
    struct FetchPartition {
        /// The partition.
        partition: i32                 => since(0),
        /// The leader epoch that the client knows, or −1; an old one is fenced.
        current_leader_epoch: i32 = -1 => since(9).ignorable(),
        /// The first offset wanted.
        fetch_offset: i64              => since(0),
        /// The leader epoch of the last record read, or −1.
        last_fetched_epoch: i32 = -1   => since(12),
        /// The first offset that the follower has; −1 from consumers.
        log_start_offset: i64 = -1     => since(5).ignorable(),
        /// How many bytes of this partition the answer may have.
        partition_max_bytes: i32       => since(0),
        /// The follower's log directory.
        replica_directory_id: Uuid     => since(17).tag(0).ignorable(),
        /// The high watermark that the follower knows, or −1.
        high_watermark: i64 = i64::MAX => since(18).tag(1).ignorable(),
    }
}

message! {
    /// Record batches per partition; partitions without news are left out within a session (KIP-227).
    response FetchResponse, versions 4..=18, flexible 12 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                  => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode                  => since(7).ignorable(),
        /// The fetch session, or 0.
        session_id: i32                        => since(7),
        /// What was read from each topic.
        responses: Vec<FetchableTopicResponse> => since(0),
        /// Where the brokers listen that were named as leaders.
        node_endpoints: Vec<FetchNodeEndpoint> => since(16).tag(0),
    }

    /// What was read from one topic.
    struct FetchableTopicResponse {
        /// The topic's name.
        topic: Str                     => versions(0, 12).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                 => since(13).ignorable(),
        /// The partitions.
        partitions: Vec<PartitionData> => since(0),
    }

    /// Where a broker listens that was named as leader (KIP-951).
    struct FetchNodeEndpoint {
        /// The broker.
        node_id: i32      => since(16).entity(BrokerId),
        /// Its host.
        host: Str         => since(16),
        /// Its port.
        port: i32         => since(16),
        /// Its rack.
        rack: Option<Str> => since(16).nullable(16),
    }

    /// What was read from one partition.
    struct PartitionData {
        /// The partition.
        partition_index: i32                                         => since(0),
        /// The error, or none.
        error_code: ErrorCode                                        => since(0),
        /// The offset up to which records are replicated.
        high_watermark: i64                                          => since(0),
        /// The offset up to which every transaction is decided.
        last_stable_offset: i64 = -1                                 => since(4).ignorable(),
        /// The first offset that the partition still has.
        log_start_offset: i64 = -1                                   => since(5).ignorable(),
        /// Where the reader's log and the leader's part ways, if they do.
        diverging_epoch: FetchEpochEndOffset                         => since(12).tag(0),
        /// Who leads the partition now, where the request went to the wrong broker.
        current_leader: FetchLeaderIdAndEpoch                        => since(12).tag(1),
        /// The snapshot to read instead, for followers of the metadata log.
        snapshot_id: SnapshotId                                      => since(12).tag(2),
        /// The aborted transactions among the records; null unless only committed ones are read.
        aborted_transactions: Option<Vec<AbortedTransaction>> = empty() => since(4).nullable(4).ignorable(),
        /// The replica to read from instead, or −1 (KIP-392).
        preferred_read_replica: i32 = -1                             => since(11).entity(BrokerId),
        /// The record batches.
        records: Option<Records>                                     => since(0).nullable(0),
    }

    /// Where the reader's log and the leader's part ways.
    struct FetchEpochEndOffset {
        /// The epoch.
        epoch: i32 = -1      => since(12),
        /// The offset after its last record, or −1.
        end_offset: i64 = -1 => since(12),
    }

    /// A leader, named in passing (KIP-951).
    struct FetchLeaderIdAndEpoch {
        /// The leader, or −1 if there is none.
        leader_id: i32 = -1    => since(12).entity(BrokerId),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1 => since(12),
    }

    /// A snapshot of the metadata log.
    struct SnapshotId {
        /// The offset after its last record.
        end_offset: i64 = -1 => since(0),
        /// The epoch.
        epoch: i32 = -1      => since(0),
    }

    /// A transaction whose records a reader of committed records must skip.
    struct AbortedTransaction {
        /// The producer id, or −1.
        producer_id: i64  => since(4).entity(ProducerId),
        /// The transaction's first offset in the partition.
        first_offset: i64 => since(4),
    }
}
