//! DeleteTopics.

use super::prelude::*;

message! {
    /// DeleteTopicsRequest
    request DeleteTopicsRequest = DELETE_TOPICS, versions 1..=6, flexible 4 => DeleteTopicsResponse {
        topics: Vec<DeleteTopicState> => since(6),
        topic_names: Vec<Str>         => versions(0, 5).ignorable(),
        timeout_ms: i32               => since(0),
    }

    /// DeleteTopicState
    struct DeleteTopicState {
        name: Option<Str> => since(6).nullable(6),
        topic_id: Uuid    => since(6),
    }
}

message! {
    /// DeleteTopicsResponse
    response DeleteTopicsResponse, versions 1..=6, flexible 4 {
        throttle_time_ms: i32                => since(1).ignorable(),
        responses: Vec<DeletableTopicResult> => since(0),
    }

    /// DeletableTopicResult
    struct DeletableTopicResult {
        name: Option<Str> = empty() => since(0).nullable(6),
        topic_id: Uuid              => since(6).ignorable(),
        error_code: ErrorCode       => since(0),
        error_message: Option<Str>  => since(5).nullable(5).ignorable(),
    }
}
