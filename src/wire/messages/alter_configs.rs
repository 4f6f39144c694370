//! Replacing the whole configuration of topics, brokers and other resources (KIP-133). Settings that are not named
//! fall back to their defaults, which is why IncrementalAlterConfigs exists.

use super::prelude::*;

message! {
    /// Replaces configurations. Those of a broker must be handed to that broker.
    request AlterConfigsRequest = ALTER_CONFIGS, versions 0..=2, flexible 2 => AlterConfigsResponse {
        /// The resources and their new configurations.
        resources: Vec<AlterConfigsResource> => since(0),
        /// Whether to check only.
        validate_only: bool                  => since(0),
    }

    /// The new configuration of one resource.
    struct AlterConfigsResource {
        /// What the resource is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8             => since(0),
        /// The resource's name; for a broker its id, or empty for what holds for all brokers.
        resource_name: Str            => since(0),
        /// All settings that it shall have.
        configs: Vec<AlterableConfig> => since(0),
    }

    /// A setting.
    struct AlterableConfig {
        /// The setting.
        name: Str                    => since(0),
        /// Its value. Never printed: it may be a password.
        value: Option<Str> = empty() => since(0).nullable(0).secret(),
    }
}

message! {
    /// What became of each resource.
    response AlterConfigsResponse, versions 0..=2, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                        => since(0),
        /// The outcome for each resource.
        responses: Vec<AlterConfigsResourceResponse> => since(0),
    }

    /// The outcome for one resource.
    struct AlterConfigsResourceResponse {
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
        /// What the resource is, as in the request.
        resource_type: i8                    => since(0),
        /// The resource's name.
        resource_name: Str                   => since(0),
    }
}
