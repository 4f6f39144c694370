//! The state and members of groups under the protocol of KIP-848.

use super::prelude::*;

message! {
    /// Asks the coordinator about its groups.
    request ConsumerGroupDescribeRequest = CONSUMER_GROUP_DESCRIBE, versions 0..=1, flexible 0
        => ConsumerGroupDescribeResponse {
        /// The groups.
        group_ids: Vec<Str>                 => since(0).entity(GroupId),
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool => since(0),
    }
}

message! {
    /// The groups. Version 1 tells what protocol each member speaks (KIP-1099).
    response ConsumerGroupDescribeResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                    => since(0),
        /// The groups.
        groups: Vec<ConsumerGroupDescribedGroup> => since(0),
    }

    /// A group.
    struct ConsumerGroupDescribedGroup {
        /// The error, or none.
        error_code: ErrorCode                     => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                => since(0).nullable(0),
        /// The group.
        group_id: Str                             => since(0).entity(GroupId),
        /// The group's state, such as `Stable`; empty if it is not known.
        group_state: Str                          => since(0),
        /// Counts the changes of the group's members and subscriptions.
        group_epoch: i32                          => since(0),
        /// The group epoch that the target assignment was made for.
        assignment_epoch: i32                     => since(0),
        /// The assignor in use.
        assignor_name: Str                        => since(0),
        /// The members.
        members: Vec<ConsumerGroupDescribeMember> => since(0),
        /// What the client may do with it, a bit to an operation; the lowest number if it was not asked.
        authorized_operations: i32 = i32::MIN     => since(0),
    }

    /// A member of a group.
    struct ConsumerGroupDescribeMember {
        /// The member.
        member_id: Str                                     => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        instance_id: Option<Str>                           => since(0).nullable(0),
        /// The member's rack; null if it has none.
        rack_id: Option<Str>                               => since(0).nullable(0),
        /// The member's epoch.
        member_epoch: i32                                  => since(0),
        /// The member's client id.
        client_id: Str                                     => since(0),
        /// Where the member connects from.
        client_host: Str                                   => since(0),
        /// The names of the topics that it wants.
        subscribed_topic_names: Vec<Str>                   => since(0).entity(TopicName),
        /// The regular expression for the names of more topics; null if it has none.
        subscribed_topic_regex: Option<Str>                => since(0).nullable(0),
        /// What the member has.
        assignment: ConsumerGroupDescribeAssignment        => since(0),
        /// What the member shall have.
        target_assignment: ConsumerGroupDescribeAssignment => since(0),
        /// What protocol the member speaks: 0 classic, 1 KIP-848; −1 if it is not known.
        member_type: i8 = -1                               => since(1).ignorable(),
    }

    /// An assignment.
    struct ConsumerGroupDescribeAssignment {
        /// The partitions, by topic.
        topic_partitions: Vec<ConsumerGroupDescribeTopicPartitions> => since(0),
    }

    /// Partitions of one topic.
    struct ConsumerGroupDescribeTopicPartitions {
        /// The topic's id.
        topic_id: Uuid       => since(0),
        /// The topic's name.
        topic_name: Str      => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}
