//! The exchange of a SASL mechanism (KIP-152, KIP-368).

use super::prelude::*;

message! {
    /// What the client's side of the mechanism says.
    request SaslAuthenticateRequest = SASL_AUTHENTICATE, versions 0..=2, flexible 2 => SaslAuthenticateResponse {
        /// What the mechanism says. Never printed.
        auth_bytes: Bytes => since(0).secret(),
    }
}

message! {
    /// What the broker's side of the mechanism says.
    response SaslAuthenticateResponse, versions 0..=2, flexible 2 {
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
        /// What the mechanism says. Never printed.
        auth_bytes: Bytes                    => since(0).secret(),
        /// After how many milliseconds the client must authenticate again; 0 for never (KIP-368).
        session_lifetime_ms: i64             => since(1).ignorable(),
    }
}
