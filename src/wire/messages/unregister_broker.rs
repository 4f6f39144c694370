//! Forgetting brokers that will not come back (KIP-631).

use super::prelude::*;

message! {
    /// Asks the controller to forget a broker.
    request UnregisterBrokerRequest = UNREGISTER_BROKER, versions 0..=0, flexible 0 => UnregisterBrokerResponse {
        /// The broker.
        broker_id: i32 => since(0).entity(BrokerId),
    }
}

message! {
    /// Whether the broker is forgotten.
    response UnregisterBrokerResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
