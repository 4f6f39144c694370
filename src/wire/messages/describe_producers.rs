//! Which producers are active in partitions, for finding transactions that hang (KIP-664).

use super::prelude::*;

message! {
    /// Asks the leaders of partitions for their producers.
    request DescribeProducersRequest = DESCRIBE_PRODUCERS, versions 0..=0, flexible 0 => DescribeProducersResponse {
        /// The topics.
        topics: Vec<DescribeProducersTopicRequest> => since(0),
    }

    /// The partitions of one topic.
    struct DescribeProducersTopicRequest {
        /// The topic's name.
        name: Str                   => since(0).entity(TopicName),
        /// The partitions.
        partition_indexes: Vec<i32> => since(0),
    }
}

message! {
    /// The producers, by partition.
    response DescribeProducersResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32      => since(0),
        /// The topics.
        topics: Vec<TopicResponse> => since(0),
    }

    /// The partitions of one topic.
    struct TopicResponse {
        /// The topic's name.
        name: Str                          => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<PartitionResponse> => since(0),
    }

    /// The producers of one partition.
    struct PartitionResponse {
        /// The partition.
        partition_index: i32                 => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>           => since(0).nullable(0),
        /// The producers whose state the partition still keeps.
        active_producers: Vec<ProducerState> => since(0),
    }

    /// A producer.
    struct ProducerState {
        /// The producer id.
        producer_id: i64                   => since(0).entity(ProducerId),
        /// The producer's epoch.
        producer_epoch: i32                => since(0),
        /// The sequence number of its last record, or −1.
        last_sequence: i32 = -1            => since(0),
        /// The timestamp of its last batch, in milliseconds since 1970, or −1.
        last_timestamp: i64 = -1           => since(0),
        /// The epoch of the coordinator that wrote its last marker; negative if there is none.
        coordinator_epoch: i32             => since(0),
        /// The first offset of its open transaction here, or −1 if there is none.
        current_txn_start_offset: i64 = -1 => since(0),
    }
}
