//! Everything about membership under the protocol of KIP-848: joining, staying, reading the assignment and leaving.

use super::prelude::*;

message! {
    /// Joins the group, stays in it or leaves it. What has not changed since the last heartbeat is null. Version 1 has
    /// the member choose its own id (KIP-1082).
    request ConsumerGroupHeartbeatRequest = CONSUMER_GROUP_HEARTBEAT, versions 0..=1, flexible 0
        => ConsumerGroupHeartbeatResponse {
        /// The group.
        group_id: Str                                                        => since(0).entity(GroupId),
        /// The member's id: a UUID that it chooses for its lifetime; in version 0 empty on first contact.
        member_id: Str                                                       => since(0),
        /// The epoch that the member knows; 0 joins, −1 leaves, −2 leaves for a restart of a static member.
        member_epoch: i32                                                    => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others and where unchanged.
        instance_id: Option<Str>                                             => since(0).nullable(0),
        /// The member's rack; null if it has none and where unchanged.
        rack_id: Option<Str>                                                 => since(0).nullable(0),
        /// How many milliseconds the member may take to give up partitions; −1 where unchanged.
        rebalance_timeout_ms: i32 = -1                                       => since(0),
        /// The names of the topics wanted; null where unchanged.
        subscribed_topic_names: Option<Vec<Str>>                             => since(0).nullable(0).entity(TopicName),
        /// The regular expression, in RE2's syntax, for the names of more topics; null where unchanged.
        subscribed_topic_regex: Option<Str>                                  => since(1).nullable(1),
        /// The assignor that the broker shall use; null for its default and where unchanged.
        server_assignor: Option<Str>                                         => since(0).nullable(0),
        /// The partitions that the member has; null where unchanged.
        topic_partitions: Option<Vec<ConsumerGroupHeartbeatTopicPartitions>> => since(0).nullable(0),
    }

    /// Partitions of one topic.
    struct ConsumerGroupHeartbeatTopicPartitions {
        /// The topic's id.
        topic_id: Uuid       => since(0),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// The member's epoch, and its assignment where that has changed.
    response ConsumerGroupHeartbeatResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                => since(0),
        /// The error, or none.
        error_code: ErrorCode                                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                           => since(0).nullable(0),
        /// The member's id; given by the coordinator in version 0.
        member_id: Option<Str>                               => since(0).nullable(0),
        /// The member's epoch, to be sent with the next heartbeat.
        member_epoch: i32                                    => since(0),
        /// After how many milliseconds the next heartbeat is due.
        heartbeat_interval_ms: i32                           => since(0),
        /// What the member is assigned; null where unchanged.
        assignment: Option<ConsumerGroupHeartbeatAssignment> => since(0).nullable(0),
    }

    /// What the member is assigned.
    struct ConsumerGroupHeartbeatAssignment {
        /// The partitions that the member may read at once, by topic.
        topic_partitions: Vec<ConsumerGroupHeartbeatTopicPartitions> => since(0),
    }
}
