//! FindCoordinator.

use super::prelude::*;

message! {
    /// FindCoordinatorRequest
    request FindCoordinatorRequest = FIND_COORDINATOR, versions 0..=6, flexible 3 => FindCoordinatorResponse {
        key: Str                   => versions(0, 3),
        key_type: i8               => since(1),
        coordinator_keys: Vec<Str> => since(4),
    }
}

message! {
    /// FindCoordinatorResponse
    response FindCoordinatorResponse, versions 0..=6, flexible 3 {
        throttle_time_ms: i32                => since(1).ignorable(),
        error_code: ErrorCode                => versions(0, 3),
        error_message: Option<Str> = empty() => versions(1, 3).nullable(1).ignorable(),
        node_id: i32                         => versions(0, 3),
        host: Str                            => versions(0, 3),
        port: i32                            => versions(0, 3),
        coordinators: Vec<Coordinator>       => since(4),
    }

    /// Coordinator
    struct Coordinator {
        key: Str                             => since(4),
        node_id: i32                         => since(4),
        host: Str                            => since(4),
        port: i32                            => since(4),
        error_code: ErrorCode                => since(4),
        error_message: Option<Str> = empty() => since(4).nullable(4).ignorable(),
    }
}
