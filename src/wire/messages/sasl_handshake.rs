//! The choice of a SASL mechanism.

use super::prelude::*;

message! {
    /// Names the mechanism that will be used. Never flexible.
    request SaslHandshakeRequest = SASL_HANDSHAKE, versions 0..=1, flexible NEVER => SaslHandshakeResponse {
        /// The mechanism, such as `SCRAM-SHA-256`.
        mechanism: Str => since(0),
    }
}

message! {
    /// Whether the broker has the mechanism, and which it has.
    response SaslHandshakeResponse, versions 0..=1, flexible NEVER {
        /// The error, or none.
        error_code: ErrorCode => since(0),
        /// The mechanisms that the broker has.
        mechanisms: Vec<Str>  => since(0),
    }
}
