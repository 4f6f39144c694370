//! Deleting groups (KIP-229).

use super::prelude::*;

message! {
    /// Asks the coordinator to delete groups that have no members.
    request DeleteGroupsRequest = DELETE_GROUPS, versions 0..=3, flexible 2 => DeleteGroupsResponse {
        /// The groups.
        groups_names: Vec<Str> => since(0).entity(GroupId),
    }
}

message! {
    /// What became of each group. Version 3 (Kafka 4.4) says why in words (KIP-1331).
    response DeleteGroupsResponse, versions 0..=3, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32              => since(0),
        /// The answer for each resource.
        results: Vec<DeletableGroupResult> => since(0),
    }

    /// What became of a group.
    struct DeletableGroupResult {
        /// The group.
        group_id: Str              => since(0).entity(GroupId),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(3).nullable(3).ignorable(),
    }
}
