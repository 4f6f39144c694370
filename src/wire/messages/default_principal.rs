//! Who stands behind a request that a broker forwards.

use super::prelude::*;

message! {
    /// Who sent a request that a broker forwards, as Kafka's own principals write it (KIP-590).
    data DefaultPrincipalData, versions 0..=0, flexible 0 {
        /// What kind of principal it is, such as `User`.
        r#type: Str               => since(0),
        /// Its name.
        name: Str                 => since(0),
        /// Whether it showed a delegation token.
        token_authenticated: bool => since(0),
    }
}
