//! The configuration of topics, brokers and other resources.

use super::prelude::*;

message! {
    /// Asks for configurations. Those of a broker must be asked of that broker.
    request DescribeConfigsRequest = DESCRIBE_CONFIGS, versions 1..=4, flexible 4 => DescribeConfigsResponse {
        /// The resources asked about.
        resources: Vec<DescribeConfigsResource> => since(0),
        /// Whether to tell all places where a setting has a value.
        include_synonyms: bool                  => since(1),
        /// Whether to tell what a setting is for.
        include_documentation: bool             => since(3),
    }

    /// A resource asked about.
    struct DescribeConfigsResource {
        /// What the resource is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8                              => since(0),
        /// The resource's name.
        resource_name: Str                             => since(0),
        /// The settings asked about; null is all.
        configuration_keys: Option<Vec<Str>> = empty() => since(0).nullable(0),
    }
}

message! {
    /// The configurations.
    response DescribeConfigsResponse, versions 1..=4, flexible 4 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32               => since(0),
        /// The answer for each resource.
        results: Vec<DescribeConfigsResult> => since(0),
    }

    /// The configuration of one resource.
    struct DescribeConfigsResult {
        /// The error, or none.
        error_code: ErrorCode                       => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()        => since(0).nullable(0),
        /// What the resource is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8                           => since(0),
        /// The resource's name.
        resource_name: Str                          => since(0),
        /// The settings.
        configs: Vec<DescribeConfigsResourceResult> => since(0),
    }

    /// One setting.
    struct DescribeConfigsResourceResult {
        /// The setting.
        name: Str                             => since(0),
        /// Its value; null if it is sensitive.
        value: Option<Str> = empty()          => since(0).nullable(0),
        /// Whether it cannot be changed.
        read_only: bool                       => since(0),
        /// Where the value comes from.
        config_source: i8 = -1                => since(1).ignorable(),
        /// Whether the value is a secret.
        is_sensitive: bool                    => since(0),
        /// All places where the setting has a value.
        synonyms: Vec<DescribeConfigsSynonym> => since(1).ignorable(),
        /// The type of the value.
        config_type: i8                       => since(3).ignorable(),
        /// What the setting is for.
        documentation: Option<Str> = empty()  => since(3).nullable(0).ignorable(),
    }

    /// A place where the setting has a value, the strongest first.
    struct DescribeConfigsSynonym {
        /// The setting there.
        name: Str                    => since(1),
        /// Its value.
        value: Option<Str> = empty() => since(1).nullable(0),
        /// Where the value comes from.
        source: i8                   => since(1),
    }
}
