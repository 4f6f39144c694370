//! Which broker coordinates a group, a transaction or a share-group partition.

use super::prelude::*;

message! {
    /// Asks any broker for coordinators: for one key before version 4, for several since (KIP-699).
    request FindCoordinatorRequest = FIND_COORDINATOR, versions 0..=6, flexible 3 => FindCoordinatorResponse {
        /// The group, the transactional id, or the share-group partition.
        key: Str                   => versions(0, 3),
        /// What the key is: 0 a group, 1 a transactional id, 2 a share-group partition.
        key_type: i8               => since(1),
        /// The keys.
        coordinator_keys: Vec<Str> => since(4),
    }
}

message! {
    /// The coordinators.
    response FindCoordinatorResponse, versions 0..=6, flexible 3 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(1).ignorable(),
        /// The error, or none.
        error_code: ErrorCode                => versions(0, 3),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => versions(1, 3).nullable(1).ignorable(),
        /// The broker.
        node_id: i32                         => versions(0, 3).entity(BrokerId),
        /// Its host.
        host: Str                            => versions(0, 3),
        /// Its port.
        port: i32                            => versions(0, 3),
        /// The coordinator of each key.
        coordinators: Vec<Coordinator>       => since(4),
    }

    /// The coordinator of one key.
    struct Coordinator {
        /// The group, the transactional id, or the share-group partition.
        key: Str                             => since(4),
        /// The broker.
        node_id: i32                         => since(4).entity(BrokerId),
        /// Its host.
        host: Str                            => since(4),
        /// Its port.
        port: i32                            => since(4),
        /// The error, or none.
        error_code: ErrorCode                => since(4),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(4).nullable(4).ignorable(),
    }
}
