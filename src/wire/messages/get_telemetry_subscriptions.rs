//! Which metrics the cluster wants of a client (KIP-714).

use super::prelude::*;

message! {
    /// Asks which metrics are wanted.
    request GetTelemetrySubscriptionsRequest = GET_TELEMETRY_SUBSCRIPTIONS, versions 0..=0, flexible 0
        => GetTelemetrySubscriptionsResponse {
        /// The id that the client was given; zero on first contact.
        client_instance_id: Uuid => since(0),
    }
}

message! {
    /// Which metrics are wanted, how often and in what form.
    response GetTelemetrySubscriptionsResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32               => since(0),
        /// The error, or none.
        error_code: ErrorCode               => since(0),
        /// The id that the client is given; zero if it has one.
        client_instance_id: Uuid            => since(0),
        /// Stands for this set of wanted metrics; changes with it.
        subscription_id: i32                => since(0),
        /// The codecs that the broker takes, the best first, numbered as in record batches.
        accepted_compression_types: Vec<i8> => since(0),
        /// After how many milliseconds metrics are wanted, again and again.
        push_interval_ms: i32               => since(0),
        /// How many bytes of metrics one request may have.
        telemetry_max_bytes: i32            => since(0),
        /// Whether counters tell what was added since the last push; otherwise they tell sums.
        delta_temporality: bool             => since(0),
        /// The wanted metrics, by prefix of their names; none at all, or all where the one prefix is empty.
        requested_metrics: Vec<Str>         => since(0),
    }
}
