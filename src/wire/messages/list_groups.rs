//! Which groups a broker coordinates.

use super::prelude::*;

message! {
    /// Asks one broker for its groups.
    request ListGroupsRequest = LIST_GROUPS, versions 0..=5, flexible 3 => ListGroupsResponse {
        /// The states of groups to list; empty is all.
        states_filter: Vec<Str> => since(4),
        /// The types of groups to list; empty is all.
        types_filter: Vec<Str>  => since(5),
    }
}

message! {
    /// The groups of one broker.
    response ListGroupsResponse, versions 0..=5, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32    => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode    => since(0),
        /// The groups.
        groups: Vec<ListedGroup> => since(0),
    }

    /// A group.
    struct ListedGroup {
        /// The group.
        group_id: Str      => since(0).entity(GroupId),
        /// What the group is, `consumer` for consumers.
        protocol_type: Str => since(0),
        /// The group's state, such as `Stable`.
        group_state: Str   => since(4).ignorable(),
        /// The group's type, such as `classic` or `consumer`.
        group_type: Str    => since(5).ignorable(),
    }
}
