//! Writing record batches.

use super::prelude::*;

message! {
    /// Hands record batches to the leaders of their partitions. With acks 0 there is no answer.
    request ProduceRequest = PRODUCE, versions 3..=13, flexible 9 => ProduceResponse {
        /// The transactional id; null without transactions.
        transactional_id: Option<Str>     => since(3).nullable(3).entity(TransactionalId),
        /// How many replicas must have the records before the answer: 0 none and no answer, 1 the leader, −1 all in sync.
        acks: i16                         => since(0),
        /// How many milliseconds the broker may take.
        timeout_ms: i32                   => since(0),
        /// The batches for each topic.
        topic_data: Vec<TopicProduceData> => since(0),
    }

    /// The batches for one topic.
    struct TopicProduceData {
        /// The topic's name.
        name: Str                                 => versions(0, 12).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                            => since(13).ignorable(),
        /// The batches for each partition.
        partition_data: Vec<PartitionProduceData> => since(0),
    }

    /// The batches for one partition.
    struct PartitionProduceData {
        /// The partition.
        index: i32               => since(0),
        /// The record batches.
        records: Option<Records> => since(0).nullable(0),
    }
}

message! {
    /// Where the batches of each partition now stand, or why they do not.
    response ProduceResponse, versions 3..=13, flexible 9 {
        /// The outcome for each topic.
        responses: Vec<TopicProduceResponse> => since(0),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(1).ignorable(),
        /// Where the brokers listen that were named as leaders.
        node_endpoints: Vec<NodeEndpoint>    => since(10).tag(0),
    }

    /// The outcome for one topic.
    struct TopicProduceResponse {
        /// The topic's name.
        name: Str                                          => versions(0, 12).ignorable().entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                     => since(13).ignorable(),
        /// The outcome for each partition.
        partition_responses: Vec<PartitionProduceResponse> => since(0),
    }

    /// Where a broker listens that was named as leader (KIP-951).
    struct NodeEndpoint {
        /// The broker.
        node_id: i32      => since(10).entity(BrokerId),
        /// Its host.
        host: Str         => since(10),
        /// Its port.
        port: i32         => since(10),
        /// Its rack.
        rack: Option<Str> => since(10).nullable(10),
    }

    /// The outcome for one partition.
    struct PartitionProduceResponse {
        /// The partition.
        index: i32                                    => since(0),
        /// The error, or none.
        error_code: ErrorCode                         => since(0),
        /// The offset of the first record.
        base_offset: i64                              => since(0),
        /// When the leader appended the batch, or −1 where the producer's timestamps stand.
        log_append_time_ms: i64 = -1                  => since(2).ignorable(),
        /// The first offset that the partition still has.
        log_start_offset: i64 = -1                    => since(5).ignorable(),
        /// The records that had the batch refused.
        record_errors: Vec<BatchIndexAndErrorMessage> => since(8).ignorable(),
        /// What the broker says about the error.
        error_message: Option<Str>                    => since(8).nullable(8).ignorable(),
        /// Who leads the partition now, where the request went to the wrong broker.
        current_leader: ProduceLeaderIdAndEpoch       => since(10).tag(0),
    }

    /// A record that the broker refused, and its whole batch with it (KIP-467).
    struct BatchIndexAndErrorMessage {
        /// The record's place in its batch.
        batch_index: i32                       => since(8),
        /// What is wrong with the record.
        batch_index_error_message: Option<Str> => since(8).nullable(8),
    }

    /// A leader, named in passing (KIP-951).
    struct ProduceLeaderIdAndEpoch {
        /// The leader, or −1 if there is none.
        leader_id: i32 = -1    => since(10).entity(BrokerId),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1 => since(10),
    }
}
