//! Changing whom SCRAM lets in (KIP-554).

use super::prelude::*;

message! {
    /// Removes credentials and sets others.
    request AlterUserScramCredentialsRequest = ALTER_USER_SCRAM_CREDENTIALS, versions 0..=0, flexible 0
        => AlterUserScramCredentialsResponse {
        /// The credentials to remove.
        deletions: Vec<ScramCredentialDeletion>   => since(0),
        /// The credentials to set, whether they exist or not.
        upsertions: Vec<ScramCredentialUpsertion> => since(0),
    }

    /// A credential to remove.
    struct ScramCredentialDeletion {
        /// The user's name.
        name: Str     => since(0),
        /// The mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 => since(0),
    }

    /// A credential to set.
    struct ScramCredentialUpsertion {
        /// The user's name.
        name: Str              => since(0),
        /// The mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8          => since(0),
        /// How many times the password is hashed; brokers refuse fewer than 4096 and more than 16384.
        iterations: i32        => since(0),
        /// The salt, random bytes of the client's choice. Never printed.
        salt: Bytes            => since(0).secret(),
        /// The password, salted and hashed by the client: whoever has it can log in. Never printed.
        salted_password: Bytes => since(0).secret(),
    }
}

message! {
    /// What became of each user.
    response AlterUserScramCredentialsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                         => since(0),
        /// The outcomes.
        results: Vec<AlterUserScramCredentialsResult> => since(0),
    }

    /// What became of one user's credentials.
    struct AlterUserScramCredentialsResult {
        /// The user's name.
        user: Str                            => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
