//! Staying in a group under the classic protocol.

use super::prelude::*;

message! {
    /// Tells the coordinator that the member lives.
    request HeartbeatRequest = HEARTBEAT, versions 0..=4, flexible 4 => HeartbeatResponse {
        /// The group.
        group_id: Str                  => since(0).entity(GroupId),
        /// The generation.
        generation_id: i32             => since(0),
        /// The member; empty on first contact.
        member_id: Str                 => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        group_instance_id: Option<Str> => since(3).nullable(3),
    }
}

message! {
    /// Whether the member is still in the current generation.
    response HeartbeatResponse, versions 0..=4, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32 => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
