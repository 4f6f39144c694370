//! Produce.

use super::prelude::*;

message! {
    /// ProduceRequest
    request ProduceRequest = PRODUCE, versions 3..=13, flexible 9 => ProduceResponse {
        transactional_id: Option<Str>     => since(3).nullable(3),
        acks: i16                         => since(0),
        timeout_ms: i32                   => since(0),
        topic_data: Vec<TopicProduceData> => since(0),
    }

    /// TopicProduceData
    struct TopicProduceData {
        name: Str                                 => versions(0, 12).ignorable(),
        topic_id: Uuid                            => since(13).ignorable(),
        partition_data: Vec<PartitionProduceData> => since(0),
    }

    /// PartitionProduceData
    struct PartitionProduceData {
        index: i32               => since(0),
        records: Option<Records> => since(0).nullable(0),
    }
}

message! {
    /// ProduceResponse
    response ProduceResponse, versions 3..=13, flexible 9 {
        responses: Vec<TopicProduceResponse> => since(0),
        throttle_time_ms: i32                => since(1).ignorable(),
        node_endpoints: Vec<NodeEndpoint>    => since(10).tag(0),
    }

    /// TopicProduceResponse
    struct TopicProduceResponse {
        name: Str                                          => versions(0, 12).ignorable(),
        topic_id: Uuid                                     => since(13).ignorable(),
        partition_responses: Vec<PartitionProduceResponse> => since(0),
    }

    /// NodeEndpoint
    struct NodeEndpoint {
        node_id: i32      => since(10),
        host: Str         => since(10),
        port: i32         => since(10),
        rack: Option<Str> => since(10).nullable(10),
    }

    /// PartitionProduceResponse
    struct PartitionProduceResponse {
        index: i32                                    => since(0),
        error_code: ErrorCode                         => since(0),
        base_offset: i64                              => since(0),
        log_append_time_ms: i64 = -1                  => since(2).ignorable(),
        log_start_offset: i64 = -1                    => since(5).ignorable(),
        record_errors: Vec<BatchIndexAndErrorMessage> => since(8).ignorable(),
        error_message: Option<Str>                    => since(8).nullable(8).ignorable(),
        current_leader: ProduceLeaderIdAndEpoch       => since(10).tag(0),
    }

    /// BatchIndexAndErrorMessage
    struct BatchIndexAndErrorMessage {
        batch_index: i32                       => since(8),
        batch_index_error_message: Option<Str> => since(8).nullable(8),
    }

    /// ProduceLeaderIdAndEpoch
    struct ProduceLeaderIdAndEpoch {
        leader_id: i32 = -1    => since(10),
        leader_epoch: i32 = -1 => since(10),
    }
}
