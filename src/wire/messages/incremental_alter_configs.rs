//! Changing settings of topics, brokers and other resources, one by one (KIP-339).

use super::prelude::*;

message! {
    /// Changes settings; those that are not named stay as they are.
    request IncrementalAlterConfigsRequest = INCREMENTAL_ALTER_CONFIGS, versions 0..=1, flexible 1
        => IncrementalAlterConfigsResponse {
        /// The resources and what changes.
        resources: Vec<IncrementalAlterConfigsResource> => since(0),
        /// Whether to check only.
        validate_only: bool                             => since(0),
    }

    /// What changes for one resource.
    struct IncrementalAlterConfigsResource {
        /// What the resource is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8                        => since(0),
        /// The resource's name; for a broker its id, or empty for what holds for all brokers.
        resource_name: Str                       => since(0),
        /// The changes.
        configs: Vec<IncrementalAlterableConfig> => since(0),
    }

    /// The change of one setting.
    struct IncrementalAlterableConfig {
        /// The setting.
        name: Str                    => since(0),
        /// What happens to it: 0 it is set, 1 it falls back to its default, 2 the value is added to its list, 3 the
        /// value is taken out of its list.
        config_operation: i8         => since(0),
        /// The value; null to fall back to the default. Never printed: it may be a password.
        value: Option<Str> = empty() => since(0).nullable(0).secret(),
    }
}

message! {
    /// What became of each resource.
    response IncrementalAlterConfigsResponse, versions 0..=1, flexible 1 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                   => since(0),
        /// The outcome for each resource.
        responses: Vec<IncrementalAlterConfigsResourceResponse> => since(0),
    }

    /// The outcome for one resource.
    struct IncrementalAlterConfigsResourceResponse {
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
