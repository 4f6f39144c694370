//! A client's metrics on their way to the cluster (KIP-714).

use super::prelude::*;

message! {
    /// Hands the metrics to the broker that told what is wanted.
    request PushTelemetryRequest = PUSH_TELEMETRY, versions 0..=0, flexible 0 => PushTelemetryResponse {
        /// The id that the client was given.
        client_instance_id: Uuid => since(0),
        /// The set of wanted metrics that this answers; an old one is refused.
        subscription_id: i32     => since(0),
        /// Whether the client is about to end; such a push may come early.
        terminating: bool        => since(0),
        /// The codec of the metrics, numbered as in record batches.
        compression_type: i8     => since(0),
        /// The metrics: OpenTelemetry's `MetricsData`, in protobuf.
        metrics: Bytes           => since(0),
    }
}

message! {
    /// Whether the metrics were taken.
    response PushTelemetryResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32 => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
