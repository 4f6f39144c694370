//! Which users can log in with SCRAM (KIP-554).

use super::prelude::*;

message! {
    /// Asks for the credentials of users. No broker tells a salt or a password.
    request DescribeUserScramCredentialsRequest = DESCRIBE_USER_SCRAM_CREDENTIALS, versions 0..=0, flexible 0
        => DescribeUserScramCredentialsResponse {
        /// The users asked about; null or none is all.
        users: Option<Vec<UserName>> = empty() => since(0).nullable(0),
    }

    /// A user.
    struct UserName {
        /// The user's name.
        name: Str => since(0),
    }
}

message! {
    /// The users' credentials, without what is secret.
    response DescribeUserScramCredentialsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                            => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode                            => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()             => since(0).nullable(0),
        /// The users.
        results: Vec<DescribeUserScramCredentialsResult> => since(0),
    }

    /// A user.
    struct DescribeUserScramCredentialsResult {
        /// The user's name.
        user: Str                             => since(0),
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()  => since(0).nullable(0),
        /// The user's credentials, one to a mechanism.
        credential_infos: Vec<CredentialInfo> => since(0),
    }

    /// A credential.
    struct CredentialInfo {
        /// The mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8   => since(0),
        /// How many times the password is hashed.
        iterations: i32 => since(0),
    }
}
