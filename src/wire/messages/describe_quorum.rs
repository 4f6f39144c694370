//! Who votes on the metadata log (KIP-595).

use super::prelude::*;

message! {
    /// Asks for the state of the quorum. Its only partition so far is the metadata log.
    request DescribeQuorumRequest = DESCRIBE_QUORUM, versions 0..=2, flexible 0 => DescribeQuorumResponse {
        /// The topics.
        topics: Vec<DescribeQuorumRequestTopicData> => since(0),
    }

    /// The partitions of one topic.
    struct DescribeQuorumRequestTopicData {
        /// The topic's name, `__cluster_metadata`.
        topic_name: Str                                     => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<DescribeQuorumRequestPartitionData> => since(0),
    }

    /// A partition asked about.
    struct DescribeQuorumRequestPartitionData {
        /// The partition.
        partition_index: i32 => since(0),
    }
}

message! {
    /// The state of the quorum.
    response DescribeQuorumResponse, versions 0..=2, flexible 0 {
        /// The error of the whole request, or none.
        error_code: ErrorCode                        => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()         => since(2).nullable(2).ignorable(),
        /// The topics.
        topics: Vec<DescribeQuorumResponseTopicData> => since(0),
        /// Where the voters listen (KIP-853).
        nodes: Vec<Node>                             => since(2),
    }

    /// The state of one topic.
    struct DescribeQuorumResponseTopicData {
        /// The topic's name.
        topic_name: Str                                      => since(0).entity(TopicName),
        /// The state of each partition.
        partitions: Vec<DescribeQuorumResponsePartitionData> => since(0),
    }

    /// A voter.
    struct Node {
        /// The voter.
        node_id: i32                           => since(2).entity(BrokerId),
        /// Where it listens.
        listeners: Vec<DescribeQuorumListener> => since(2),
    }

    /// The state of one partition.
    struct DescribeQuorumResponsePartitionData {
        /// The partition.
        partition_index: i32                            => since(0),
        /// The error, or none.
        error_code: ErrorCode                           => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()            => since(2).nullable(2).ignorable(),
        /// The leader, or −1 if it is not known.
        leader_id: i32                                  => since(0).entity(BrokerId),
        /// The leader epoch.
        leader_epoch: i32                               => since(0),
        /// The offset up to which a majority of the voters has the records.
        high_watermark: i64                             => since(0),
        /// Who votes.
        current_voters: Vec<DescribeQuorumReplicaState> => since(0),
        /// Who reads without a vote.
        observers: Vec<DescribeQuorumReplicaState>      => since(0),
    }

    /// A listener.
    struct DescribeQuorumListener {
        /// The listener's name.
        name: Str => since(2),
        /// Its host.
        host: Str => since(2),
        /// Its port.
        port: u16 => since(2),
    }

    /// How far a replica is.
    struct DescribeQuorumReplicaState {
        /// The replica.
        replica_id: i32                    => since(0).entity(BrokerId),
        /// The replica's directory, which names it across reformatted disks (KIP-853).
        replica_directory_id: Uuid         => since(2),
        /// The offset after its last record, or −1 if it is not known.
        log_end_offset: i64                => since(0),
        /// When it last fetched by the leader's clock, in milliseconds since 1970; −1 for the leader itself and where
        /// it is not known (KIP-836).
        last_fetch_timestamp: i64 = -1     => since(1).ignorable(),
        /// When the leader appended what it last caught up with, in milliseconds since 1970; now for the leader itself,
        /// −1 where it is not known (KIP-836).
        last_caught_up_timestamp: i64 = -1 => since(1).ignorable(),
    }
}
