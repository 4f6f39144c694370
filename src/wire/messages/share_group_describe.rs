//! The state and members of share groups (KIP-932).

use super::prelude::*;

message! {
    /// Asks the coordinator about its share groups.
    request ShareGroupDescribeRequest = SHARE_GROUP_DESCRIBE, versions 1..=1, flexible 0 => ShareGroupDescribeResponse {
        /// The groups.
        group_ids: Vec<Str>                 => since(0).entity(GroupId),
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool => since(0),
    }
}

message! {
    /// The share groups.
    response ShareGroupDescribeResponse, versions 1..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(0),
        /// The groups.
        groups: Vec<ShareGroupDescribedGroup> => since(0),
    }

    /// A share group.
    struct ShareGroupDescribedGroup {
        /// The error, or none.
        error_code: ErrorCode                  => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>             => since(0).nullable(0),
        /// The group.
        group_id: Str                          => since(0).entity(GroupId),
        /// The group's state, such as `Stable`; empty if it is not known.
        group_state: Str                       => since(0),
        /// Counts the changes of the group's members and subscriptions.
        group_epoch: i32                       => since(0),
        /// The group epoch that the target assignment was made for.
        assignment_epoch: i32                  => since(0),
        /// The assignor in use.
        assignor_name: Str                     => since(0),
        /// The members.
        members: Vec<ShareGroupDescribeMember> => since(0),
        /// What the client may do with it, a bit to an operation; the lowest number if it was not asked.
        authorized_operations: i32 = i32::MIN  => since(0),
    }

    /// A member of a share group.
    struct ShareGroupDescribeMember {
        /// The member.
        member_id: Str                           => since(0),
        /// The member's rack; null if it has none.
        rack_id: Option<Str>                     => since(0).nullable(0),
        /// The member's epoch.
        member_epoch: i32                        => since(0),
        /// The member's client id.
        client_id: Str                           => since(0),
        /// Where the member connects from.
        client_host: Str                         => since(0),
        /// The names of the topics that it wants.
        subscribed_topic_names: Vec<Str>         => since(0).entity(TopicName),
        /// What the member has.
        assignment: ShareGroupDescribeAssignment => since(0),
    }

    /// An assignment.
    struct ShareGroupDescribeAssignment {
        /// The partitions, by topic.
        topic_partitions: Vec<ShareGroupDescribeTopicPartitions> => since(0),
    }

    /// Partitions of one topic.
    struct ShareGroupDescribeTopicPartitions {
        /// The topic's id.
        topic_id: Uuid       => since(0),
        /// The topic's name.
        topic_name: Str      => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}
