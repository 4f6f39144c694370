//! Deleting topics.

use super::prelude::*;

message! {
    /// Asks the controller to delete topics.
    request DeleteTopicsRequest = DELETE_TOPICS, versions 1..=6, flexible 4 => DeleteTopicsResponse {
        /// The topics.
        topics: Vec<DeleteTopicState> => since(6),
        /// The topics' names.
        topic_names: Vec<Str>         => versions(0, 5).ignorable().entity(TopicName),
        /// How many milliseconds the broker may take.
        timeout_ms: i32               => since(0),
    }

    /// A topic to delete, by name or by id.
    struct DeleteTopicState {
        /// The topic's name; null to delete by id.
        name: Option<Str> => since(6).nullable(6).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid    => since(6),
    }
}

message! {
    /// What became of each topic.
    response DeleteTopicsResponse, versions 1..=6, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(1).ignorable(),
        /// The outcome for each topic.
        responses: Vec<DeletableTopicResult> => since(0),
    }

    /// What became of a topic.
    struct DeletableTopicResult {
        /// The topic's name; null if it was named by an id that nobody knows.
        name: Option<Str> = empty() => since(0).nullable(6).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid              => since(6).ignorable(),
        /// The error, or none.
        error_code: ErrorCode       => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>  => since(5).nullable(5).ignorable(),
    }
}
