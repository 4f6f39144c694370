//! The partitions of topics, page by page (KIP-966).

use super::prelude::*;

message! {
    /// Asks for the partitions of topics, from a place on.
    request DescribeTopicPartitionsRequest = DESCRIBE_TOPIC_PARTITIONS, versions 0..=0, flexible 0
        => DescribeTopicPartitionsResponse {
        /// The topics asked about; empty for all.
        topics: Vec<DescribeTopicPartitionsTopicRequest> => since(0),
        /// How many partitions the page may have; the broker has a limit of its own.
        response_partition_limit: i32 = 2000             => since(0),
        /// Where to begin; null for the beginning.
        cursor: Option<Cursor>                           => since(0).nullable(0),
    }

    /// A topic asked about.
    struct DescribeTopicPartitionsTopicRequest {
        /// The topic's name.
        name: Str => since(0).entity(TopicName),
    }

    /// A place in the list of all partitions.
    struct Cursor {
        /// The topic to begin with; topics come in the order of their names.
        topic_name: Str      => since(0).entity(TopicName),
        /// The partition to begin with.
        partition_index: i32 => since(0),
    }
}

message! {
    /// As many partitions as the page has, and where the next one begins.
    response DescribeTopicPartitionsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                             => since(0).ignorable(),
        /// The topics.
        topics: Vec<DescribeTopicPartitionsResponseTopic> => since(0),
        /// Where the next page begins; null at the end.
        next_cursor: Option<Cursor>                       => since(0).nullable(0),
    }

    /// A topic.
    struct DescribeTopicPartitionsResponseTopic {
        /// The error, or none.
        error_code: ErrorCode                                     => since(0),
        /// The topic's name.
        name: Option<Str> = empty()                               => since(0).nullable(0).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                            => since(0).ignorable(),
        /// Whether Kafka keeps its own records in it.
        is_internal: bool                                         => since(0).ignorable(),
        /// The partitions.
        partitions: Vec<DescribeTopicPartitionsResponsePartition> => since(0),
        /// What the client may do with the topic, a bit to an operation; the lowest number if it was not asked.
        topic_authorized_operations: i32 = i32::MIN               => since(0),
    }

    /// A partition.
    struct DescribeTopicPartitionsResponsePartition {
        /// The error, or none.
        error_code: ErrorCode                      => since(0),
        /// The partition.
        partition_index: i32                       => since(0),
        /// The leader, or −1 if there is none.
        leader_id: i32                             => since(0).entity(BrokerId),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1                     => since(0).ignorable(),
        /// The brokers that hold the partition.
        replica_nodes: Vec<i32>                    => since(0).entity(BrokerId),
        /// Those of them that are in sync with the leader.
        isr_nodes: Vec<i32>                        => since(0).entity(BrokerId),
        /// Replicas that are out of sync and could still lead without loss (KIP-966); null if they are not known.
        eligible_leader_replicas: Option<Vec<i32>> => since(0).nullable(0).entity(BrokerId),
        /// Replicas that could last have led without loss, before an unclean shutdown (KIP-966); null if they are not
        /// known.
        last_known_elr: Option<Vec<i32>>           => since(0).nullable(0).entity(BrokerId),
        /// Those of them that cannot be reached.
        offline_replicas: Vec<i32>                 => since(0).ignorable().entity(BrokerId),
    }
}
