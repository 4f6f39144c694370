//! Taking a controller out of the cluster's registrations (KIP-1312; since Kafka 4.4).

use super::prelude::*;

message! {
    /// Asks the controller to forget another one that is gone for good.
    request UnregisterControllerRequest = UNREGISTER_CONTROLLER, versions 0..=0, flexible 0
        => UnregisterControllerResponse {
        /// The controller to forget.
        controller_id: i32 => since(0),
    }
}

message! {
    /// Whether the controller was taken out.
    response UnregisterControllerResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
