//! Assignments under the classic protocol.

use super::prelude::*;

message! {
    /// Asks for the member's assignment; the leader brings those of all members.
    request SyncGroupRequest = SYNC_GROUP, versions 0..=5, flexible 4 => SyncGroupResponse {
        /// The group.
        group_id: Str                                => since(0).entity(GroupId),
        /// The generation.
        generation_id: i32                           => since(0),
        /// The member; empty on first contact.
        member_id: Str                               => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str>               => since(3).nullable(3),
        /// What the group is, `consumer` for consumers.
        protocol_type: Option<Str>                   => since(5).nullable(5).ignorable(),
        /// The assignor chosen.
        protocol_name: Option<Str>                   => since(5).nullable(5).ignorable(),
        /// The assignments, brought by the leader only.
        assignments: Vec<SyncGroupRequestAssignment> => since(0),
    }

    /// The assignment of one member.
    struct SyncGroupRequestAssignment {
        /// The member; empty on first contact.
        member_id: Str    => since(0),
        /// What the member is assigned, in the words of the assignor.
        assignment: Bytes => since(0),
    }
}

message! {
    /// The member's assignment.
    response SyncGroupResponse, versions 0..=5, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32      => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the group is, `consumer` for consumers.
        protocol_type: Option<Str> => since(5).nullable(5).ignorable(),
        /// The assignor chosen.
        protocol_name: Option<Str> => since(5).nullable(5).ignorable(),
        /// What the member is assigned, in the words of the assignor.
        assignment: Bytes          => since(0),
    }
}
