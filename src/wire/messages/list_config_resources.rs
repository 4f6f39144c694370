//! The resources that have a configuration (KIP-1142).

use super::prelude::*;

message! {
    /// Asks for resources. Version 0 knows those of client metrics only (KIP-714).
    request ListConfigResourcesRequest = LIST_CONFIG_RESOURCES, versions 0..=1, flexible 0
        => ListConfigResourcesResponse {
        /// The types of resources wanted; empty for all. Numbered as in DescribeConfigs.
        resource_types: Vec<i8> => since(1),
    }
}

message! {
    /// The resources.
    response ListConfigResourcesResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                 => since(0),
        /// The error, or none.
        error_code: ErrorCode                 => since(0),
        /// The resources.
        config_resources: Vec<ConfigResource> => since(0),
    }

    /// A resource.
    struct ConfigResource {
        /// The resource's name.
        resource_name: Str     => since(0),
        /// What the resource is, numbered as in DescribeConfigs; client metrics in version 0.
        resource_type: i8 = 16 => since(1).ignorable(),
    }
}
