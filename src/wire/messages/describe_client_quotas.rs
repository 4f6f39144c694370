//! Which quotas clients have (KIP-546).

use super::prelude::*;

message! {
    /// Asks for the quotas of the entities that a filter matches.
    request DescribeClientQuotasRequest = DESCRIBE_CLIENT_QUOTAS, versions 0..=1, flexible 1
        => DescribeClientQuotasResponse {
        /// What the filter says about each part of an entity; all must match.
        components: Vec<ComponentData> => since(0),
        /// Whether entities with parts that the filter does not name are left out.
        strict: bool                   => since(0),
    }

    /// What the filter says about one part.
    struct ComponentData {
        /// The part: `user`, `client-id` or `ip`.
        entity_type: Str               => since(0),
        /// How it matches: 0 by name, 1 if it is the default, 2 if it has any name.
        match_type: i8                 => since(0),
        /// The name; null unless it matches by name.
        r#match: Option<Str> = empty() => since(0).nullable(0),
    }
}

message! {
    /// The quotas.
    response DescribeClientQuotasResponse, versions 0..=1, flexible 1 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                        => since(0),
        /// The error, or none.
        error_code: ErrorCode                                        => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()                         => since(0).nullable(0),
        /// The entities and their quotas; null if there was an error.
        entries: Option<Vec<DescribeClientQuotasEntryData>> = empty() => since(0).nullable(0),
    }

    /// The quotas of one entity.
    struct DescribeClientQuotasEntryData {
        /// The parts that make up the entity.
        entity: Vec<DescribeClientQuotasEntityData> => since(0),
        /// Its quotas.
        values: Vec<ValueData>                      => since(0),
    }

    /// A part of an entity.
    struct DescribeClientQuotasEntityData {
        /// The part: `user`, `client-id` or `ip`.
        entity_type: Str                   => since(0),
        /// Its name; null is the default.
        entity_name: Option<Str> = empty() => since(0).nullable(0),
    }

    /// A quota.
    struct ValueData {
        /// The quota, such as `producer_byte_rate`.
        key: Str   => since(0),
        /// Its value: bytes or connections a second, or percent.
        value: f64 => since(0),
    }
}
