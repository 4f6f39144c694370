//! The state and members of classic groups.

use super::prelude::*;

message! {
    /// Asks the coordinator about its groups.
    request DescribeGroupsRequest = DESCRIBE_GROUPS, versions 0..=6, flexible 5 => DescribeGroupsResponse {
        /// The groups' ids.
        groups: Vec<Str>                    => since(0).entity(GroupId),
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool => since(3),
    }
}

message! {
    /// The groups.
    response DescribeGroupsResponse, versions 0..=6, flexible 5 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32       => since(1).ignorable(),
        /// The groups.
        groups: Vec<DescribedGroup> => since(0),
    }

    /// A group.
    struct DescribedGroup {
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>            => since(6).nullable(6),
        /// The group.
        group_id: Str                         => since(0).entity(GroupId),
        /// The group's state, such as `Stable`.
        group_state: Str                      => since(0),
        /// What the group is, `consumer` for consumers.
        protocol_type: Str                    => since(0),
        /// The assignor chosen.
        protocol_data: Str                    => since(0),
        /// The members.
        members: Vec<DescribedGroupMember>    => since(0),
        /// What the client may do with it, a bit to an operation; the lowest number if it was not asked.
        authorized_operations: i32 = i32::MIN => since(3),
    }

    /// A member of a group.
    struct DescribedGroupMember {
        /// The member; empty on first contact.
        member_id: Str                 => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str> => since(4).nullable(4).ignorable(),
        /// The member's client id.
        client_id: Str                 => since(0),
        /// Where the member connects from.
        client_host: Str               => since(0),
        /// What the assignor wants to know of the member.
        member_metadata: Bytes         => since(0),
        /// What the member is assigned, in the words of the assignor.
        member_assignment: Bytes       => since(0),
    }
}
