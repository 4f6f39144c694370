//! CreateTopics.

use super::prelude::*;

message! {
    /// CreateTopicsRequest
    request CreateTopicsRequest = CREATE_TOPICS, versions 2..=7, flexible 5 => CreateTopicsResponse {
        topics: Vec<CreatableTopic> => since(0),
        timeout_ms: i32 = 60000     => since(0),
        validate_only: bool         => since(1),
    }

    /// CreatableTopic
    struct CreatableTopic {
        name: Str                                    => since(0),
        num_partitions: i32                          => since(0),
        replication_factor: i16                      => since(0),
        assignments: Vec<CreatableReplicaAssignment> => since(0),
        configs: Vec<CreatableTopicConfig>           => since(0),
    }

    /// CreatableReplicaAssignment
    struct CreatableReplicaAssignment {
        partition_index: i32 => since(0),
        broker_ids: Vec<i32> => since(0),
    }

    /// CreatableTopicConfig
    struct CreatableTopicConfig {
        name: Str                    => since(0),
        value: Option<Str> = empty() => since(0).nullable(0),
    }
}

message! {
    /// CreateTopicsResponse
    response CreateTopicsResponse, versions 2..=7, flexible 5 {
        throttle_time_ms: i32             => since(2).ignorable(),
        topics: Vec<CreatableTopicResult> => since(0),
    }

    /// CreatableTopicResult
    struct CreatableTopicResult {
        name: Str                                            => since(0),
        topic_id: Uuid                                       => since(7).ignorable(),
        error_code: ErrorCode                                => since(0),
        error_message: Option<Str> = empty()                 => since(1).nullable(0).ignorable(),
        topic_config_error_code: ErrorCode                   => since(5).tag(0).ignorable(),
        num_partitions: i32 = -1                             => since(5).ignorable(),
        replication_factor: i16 = -1                         => since(5).ignorable(),
        configs: Option<Vec<CreatableTopicConfigs>> = empty() => since(5).nullable(5).ignorable(),
    }

    /// CreatableTopicConfigs
    struct CreatableTopicConfigs {
        name: Str                    => since(5),
        value: Option<Str> = empty() => since(5).nullable(5),
        read_only: bool              => since(5),
        config_source: i8 = -1       => since(5).ignorable(),
        is_sensitive: bool           => since(5),
    }
}
