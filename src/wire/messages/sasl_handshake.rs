//! SaslHandshake.

use super::prelude::*;

message! {
    /// SaslHandshakeRequest
    request SaslHandshakeRequest = SASL_HANDSHAKE, versions 0..=1, flexible NEVER => SaslHandshakeResponse {
        mechanism: Str => since(0),
    }
}

message! {
    /// SaslHandshakeResponse
    response SaslHandshakeResponse, versions 0..=1, flexible NEVER {
        error_code: ErrorCode => since(0),
        mechanisms: Vec<Str>  => since(0),
    }
}
