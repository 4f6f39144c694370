//! Everything about membership in a share group (KIP-932).

use super::prelude::*;

message! {
    /// Joins the group, stays in it or leaves it. What has not changed since the last heartbeat is null.
    request ShareGroupHeartbeatRequest = SHARE_GROUP_HEARTBEAT, versions 1..=1, flexible 0
        => ShareGroupHeartbeatResponse {
        /// The group.
        group_id: Str                            => since(0).entity(GroupId),
        /// The member's id, a UUID that it chooses for its lifetime.
        member_id: Str                           => since(0),
        /// The epoch that the member knows; 0 joins, −1 leaves.
        member_epoch: i32                        => since(0),
        /// The member's rack; null if it has none and where unchanged.
        rack_id: Option<Str>                     => since(0).nullable(0),
        /// The names of the topics wanted; null where unchanged.
        subscribed_topic_names: Option<Vec<Str>> => since(0).nullable(0).entity(TopicName),
    }
}

message! {
    /// The member's epoch, and its assignment where that has changed.
    response ShareGroupHeartbeatResponse, versions 1..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                             => since(0),
        /// The error, or none.
        error_code: ErrorCode                             => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                        => since(0).nullable(0),
        /// The member's id.
        member_id: Option<Str>                            => since(0).nullable(0),
        /// The member's epoch, to be sent with the next heartbeat.
        member_epoch: i32                                 => since(0),
        /// After how many milliseconds the next heartbeat is due.
        heartbeat_interval_ms: i32                        => since(0),
        /// What the member is assigned; null where unchanged.
        assignment: Option<ShareGroupHeartbeatAssignment> => since(0).nullable(0),
    }

    /// What the member is assigned.
    struct ShareGroupHeartbeatAssignment {
        /// The partitions, by topic.
        topic_partitions: Vec<ShareGroupHeartbeatTopicPartitions> => since(0),
    }

    /// Partitions of one topic.
    struct ShareGroupHeartbeatTopicPartitions {
        /// The topic's id.
        topic_id: Uuid       => since(0),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}
