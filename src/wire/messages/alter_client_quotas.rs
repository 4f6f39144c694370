//! Changing the quotas of clients (KIP-546).

use super::prelude::*;

message! {
    /// Sets and removes quotas.
    request AlterClientQuotasRequest = ALTER_CLIENT_QUOTAS, versions 0..=1, flexible 1 => AlterClientQuotasResponse {
        /// The entities and what changes.
        entries: Vec<AlterClientQuotasRequestEntryData> => since(0),
        /// Whether to check only.
        validate_only: bool                             => since(0),
    }

    /// What changes for one entity.
    struct AlterClientQuotasRequestEntryData {
        /// The parts that make up the entity.
        entity: Vec<AlterClientQuotasRequestEntityData> => since(0),
        /// The changes.
        ops: Vec<OpData>                                => since(0),
    }

    /// A part of an entity.
    struct AlterClientQuotasRequestEntityData {
        /// The part: `user`, `client-id` or `ip`.
        entity_type: Str                   => since(0),
        /// Its name; null is the default.
        entity_name: Option<Str> = empty() => since(0).nullable(0),
    }

    /// The change of one quota.
    struct OpData {
        /// The quota, such as `producer_byte_rate`.
        key: Str     => since(0),
        /// Its new value: bytes or connections a second, or percent; counts only where it is not removed.
        value: f64   => since(0),
        /// Whether the quota is removed.
        remove: bool => since(0),
    }
}

message! {
    /// What became of each entity.
    response AlterClientQuotasResponse, versions 0..=1, flexible 1 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                            => since(0),
        /// The outcomes.
        entries: Vec<AlterClientQuotasResponseEntryData> => since(0),
    }

    /// What became of one entity.
    struct AlterClientQuotasResponseEntryData {
        /// The error, or none.
        error_code: ErrorCode                            => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()             => since(0).nullable(0),
        /// The parts that make up the entity.
        entity: Vec<AlterClientQuotasResponseEntityData> => since(0),
    }

    /// A part of an entity.
    struct AlterClientQuotasResponseEntityData {
        /// The part: `user`, `client-id` or `ip`.
        entity_type: Str                   => since(0),
        /// Its name; null is the default.
        entity_name: Option<Str> = empty() => since(0).nullable(0),
    }
}
