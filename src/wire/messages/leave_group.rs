//! Leaving a group under the classic protocol.

use super::prelude::*;

message! {
    /// Takes a member out of its group: one before version 3, several since (KIP-345).
    request LeaveGroupRequest = LEAVE_GROUP, versions 0..=5, flexible 4 => LeaveGroupResponse {
        /// The group.
        group_id: Str                => since(0).entity(GroupId),
        /// The member; empty on first contact.
        member_id: Str               => versions(0, 2),
        /// The members.
        members: Vec<MemberIdentity> => since(3),
    }

    /// A member that leaves.
    struct MemberIdentity {
        /// The member; empty on first contact.
        member_id: Str                 => since(3),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str> => since(3).nullable(3),
        /// Why, for the broker's log (KIP-800).
        reason: Option<Str>            => since(5).nullable(5).ignorable(),
    }
}

message! {
    /// What became of each member.
    response LeaveGroupResponse, versions 0..=5, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32        => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode        => since(0),
        /// The members.
        members: Vec<MemberResponse> => since(3),
    }

    /// What became of a member.
    struct MemberResponse {
        /// The member; empty on first contact.
        member_id: Str                           => since(3),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str> = empty() => since(3).nullable(3),
        /// The error, or none.
        error_code: ErrorCode                    => since(3),
    }
}
