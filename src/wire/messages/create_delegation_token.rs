//! Creating delegation tokens, with which others act for a principal (KIP-48, KIP-373).

use super::prelude::*;

message! {
    /// Asks for a token.
    request CreateDelegationTokenRequest = CREATE_DELEGATION_TOKEN, versions 1..=3, flexible 2
        => CreateDelegationTokenResponse {
        /// The kind of the principal that the token is for; null for whoever asks (KIP-373).
        owner_principal_type: Option<Str> = empty() => since(3).nullable(3),
        /// The name of the principal that the token is for; null for whoever asks (KIP-373).
        owner_principal_name: Option<Str> = empty() => since(3).nullable(3),
        /// Who may renew the token besides its owner.
        renewers: Vec<CreatableRenewers>            => since(0),
        /// After how many milliseconds the token can be renewed no more; −1 for the broker's default.
        max_lifetime_ms: i64                        => since(0),
    }

    /// A principal that may renew the token.
    struct CreatableRenewers {
        /// The kind of the principal, `User` as a rule.
        principal_type: Str => since(0),
        /// The principal's name.
        principal_name: Str => since(0),
    }
}

message! {
    /// The token.
    response CreateDelegationTokenResponse, versions 1..=3, flexible 2 {
        /// The error, or none.
        error_code: ErrorCode               => since(0),
        /// The kind of the principal that the token is for.
        principal_type: Str                 => since(0),
        /// The name of the principal that the token is for.
        principal_name: Str                 => since(0),
        /// The kind of the principal that asked (KIP-373).
        token_requester_principal_type: Str => since(3),
        /// The name of the principal that asked (KIP-373).
        token_requester_principal_name: Str => since(3),
        /// When the token was made, in milliseconds since 1970.
        issue_timestamp_ms: i64             => since(0),
        /// When it expires unless it is renewed, in milliseconds since 1970.
        expiry_timestamp_ms: i64            => since(0),
        /// When it expires for good, in milliseconds since 1970.
        max_timestamp_ms: i64               => since(0),
        /// The token's id, in place of a user's name with SCRAM.
        token_id: Str                       => since(0),
        /// The token's secret, in place of a password with SCRAM. Never printed.
        hmac: Bytes                         => since(0).secret(),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32               => since(0),
    }
}
