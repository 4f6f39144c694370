//! Which delegation tokens there are (KIP-48, KIP-373).

use super::prelude::*;

message! {
    /// Asks for the tokens that the client may see.
    request DescribeDelegationTokenRequest = DESCRIBE_DELEGATION_TOKEN, versions 1..=3, flexible 2
        => DescribeDelegationTokenResponse {
        /// The owners whose tokens are asked about; null is all.
        owners: Option<Vec<DescribeDelegationTokenOwner>> = empty() => since(0).nullable(0),
    }

    /// An owner of tokens.
    struct DescribeDelegationTokenOwner {
        /// The kind of the principal, `User` as a rule.
        principal_type: Str => since(0),
        /// The principal's name.
        principal_name: Str => since(0),
    }
}

message! {
    /// The tokens, with their secrets.
    response DescribeDelegationTokenResponse, versions 1..=3, flexible 2 {
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// The tokens.
        tokens: Vec<DescribedDelegationToken> => since(0),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(0),
    }

    /// A token.
    struct DescribedDelegationToken {
        /// The kind of the principal that the token is for.
        principal_type: Str                            => since(0),
        /// The name of the principal that the token is for.
        principal_name: Str                            => since(0),
        /// The kind of the principal that asked for it (KIP-373).
        token_requester_principal_type: Str            => since(3),
        /// The name of the principal that asked for it (KIP-373).
        token_requester_principal_name: Str            => since(3),
        /// When it was made, in milliseconds since 1970.
        issue_timestamp: i64                           => since(0),
        /// When it expires unless it is renewed, in milliseconds since 1970.
        expiry_timestamp: i64                          => since(0),
        /// When it expires for good, in milliseconds since 1970.
        max_timestamp: i64                             => since(0),
        /// The token's id, in place of a user's name with SCRAM.
        token_id: Str                                  => since(0),
        /// The token's secret, in place of a password with SCRAM. Never printed.
        hmac: Bytes                                    => since(0).secret(),
        /// Who may renew it besides its owner.
        renewers: Vec<DescribedDelegationTokenRenewer> => since(0),
    }

    /// A principal that may renew the token.
    struct DescribedDelegationTokenRenewer {
        /// The kind of the principal, `User` as a rule.
        principal_type: Str => since(0),
        /// The principal's name.
        principal_name: Str => since(0),
    }
}
