//! Renewing delegation tokens (KIP-48).

use super::prelude::*;

message! {
    /// Asks that a token live longer.
    request RenewDelegationTokenRequest = RENEW_DELEGATION_TOKEN, versions 1..=2, flexible 2
        => RenewDelegationTokenResponse {
        /// The token's secret, which names it. Never printed.
        hmac: Bytes          => since(0).secret(),
        /// For how many milliseconds from now; negative for the broker's default.
        renew_period_ms: i64 => since(0),
    }
}

message! {
    /// How long the token lives.
    response RenewDelegationTokenResponse, versions 1..=2, flexible 2 {
        /// The error, or none.
        error_code: ErrorCode    => since(0),
        /// When it expires now, in milliseconds since 1970.
        expiry_timestamp_ms: i64 => since(0),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32    => since(0),
    }
}
