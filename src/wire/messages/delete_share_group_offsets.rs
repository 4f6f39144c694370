//! Making a share group forget topics (KIP-932).

use super::prelude::*;

message! {
    /// Asks the coordinator to forget where a share group stands in topics.
    request DeleteShareGroupOffsetsRequest = DELETE_SHARE_GROUP_OFFSETS, versions 0..=0, flexible 0
        => DeleteShareGroupOffsetsResponse {
        /// The group.
        group_id: Str                                    => since(0).entity(GroupId),
        /// The topics.
        topics: Vec<DeleteShareGroupOffsetsRequestTopic> => since(0),
    }

    /// A topic to forget.
    struct DeleteShareGroupOffsetsRequestTopic {
        /// The topic's name.
        topic_name: Str => since(0).entity(TopicName),
    }
}

message! {
    /// The outcome for each topic.
    response DeleteShareGroupOffsetsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                => since(0),
        /// The error, or none.
        error_code: ErrorCode                                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                           => since(0).nullable(0),
        /// The outcome for each topic.
        responses: Vec<DeleteShareGroupOffsetsResponseTopic> => since(0),
    }

    /// The outcome for one topic.
    struct DeleteShareGroupOffsetsResponseTopic {
        /// The topic's name.
        topic_name: Str            => since(0).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid             => since(0),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(0).nullable(0),
    }
}
