//! Entering a group under the classic protocol.

use super::prelude::*;

message! {
    /// Enters a group, or a new generation of it.
    request JoinGroupRequest = JOIN_GROUP, versions 0..=9, flexible 6 => JoinGroupResponse {
        /// The group.
        group_id: Str                            => since(0).entity(GroupId),
        /// After how many milliseconds without a heartbeat the member is dead.
        session_timeout_ms: i32                  => since(0),
        /// How many milliseconds members have to join again.
        rebalance_timeout_ms: i32 = -1           => since(1).ignorable(),
        /// The member; empty on first contact.
        member_id: Str                           => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str>           => since(5).nullable(5),
        /// What the group is, `consumer` for consumers.
        protocol_type: Str                       => since(0),
        /// The assignors that the member has, the best first.
        protocols: Vec<JoinGroupRequestProtocol> => since(0),
        /// Why, for the broker's log (KIP-800).
        reason: Option<Str>                      => since(8).nullable(8).ignorable(),
    }

    /// An assignor that the member has.
    struct JoinGroupRequestProtocol {
        /// The assignor.
        name: Str       => since(0),
        /// What the assignor wants to know of the member.
        metadata: Bytes => since(0),
    }
}

message! {
    /// The new generation; its leader is told all members and assigns for them.
    response JoinGroupResponse, versions 0..=9, flexible 6 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(2).ignorable(),
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// The generation.
        generation_id: i32 = -1               => since(0),
        /// What the group is, `consumer` for consumers.
        protocol_type: Option<Str>            => since(7).nullable(7).ignorable(),
        /// The assignor chosen.
        protocol_name: Option<Str> = empty()  => since(0).nullable(7),
        /// The member that assigns.
        leader: Str                           => since(0),
        /// Whether the leader must not assign (KIP-814).
        skip_assignment: bool                 => since(9),
        /// The member; empty on first contact.
        member_id: Str                        => since(0),
        /// The members, told to the leader only.
        members: Vec<JoinGroupResponseMember> => since(0),
    }

    /// A member, told to the leader.
    struct JoinGroupResponseMember {
        /// The member; empty on first contact.
        member_id: Str                 => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str> => since(5).nullable(5).ignorable(),
        /// What the assignor wants to know of the member.
        metadata: Bytes                => since(0),
    }
}
