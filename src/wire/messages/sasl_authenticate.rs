//! SaslAuthenticate.

use super::prelude::*;

message! {
    /// SaslAuthenticateRequest
    request SaslAuthenticateRequest = SASL_AUTHENTICATE, versions 0..=2, flexible 2 => SaslAuthenticateResponse {
        auth_bytes: Bytes => since(0).secret(),
    }
}

message! {
    /// SaslAuthenticateResponse
    response SaslAuthenticateResponse, versions 0..=2, flexible 2 {
        error_code: ErrorCode                => since(0),
        error_message: Option<Str> = empty() => since(0).nullable(0),
        auth_bytes: Bytes                    => since(0).secret(),
        session_lifetime_ms: i64             => since(1).ignorable(),
    }
}
