//! DescribeConfigs.

use super::prelude::*;

message! {
    /// DescribeConfigsRequest
    request DescribeConfigsRequest = DESCRIBE_CONFIGS, versions 1..=4, flexible 4 => DescribeConfigsResponse {
        resources: Vec<DescribeConfigsResource> => since(0),
        include_synonyms: bool                  => since(1),
        include_documentation: bool             => since(3),
    }

    /// DescribeConfigsResource
    struct DescribeConfigsResource {
        resource_type: i8                              => since(0),
        resource_name: Str                             => since(0),
        configuration_keys: Option<Vec<Str>> = empty() => since(0).nullable(0),
    }
}

message! {
    /// DescribeConfigsResponse
    response DescribeConfigsResponse, versions 1..=4, flexible 4 {
        throttle_time_ms: i32               => since(0),
        results: Vec<DescribeConfigsResult> => since(0),
    }

    /// DescribeConfigsResult
    struct DescribeConfigsResult {
        error_code: ErrorCode                       => since(0),
        error_message: Option<Str> = empty()        => since(0).nullable(0),
        resource_type: i8                           => since(0),
        resource_name: Str                          => since(0),
        configs: Vec<DescribeConfigsResourceResult> => since(0),
    }

    /// DescribeConfigsResourceResult
    struct DescribeConfigsResourceResult {
        name: Str                             => since(0),
        value: Option<Str> = empty()          => since(0).nullable(0),
        read_only: bool                       => since(0),
        config_source: i8 = -1                => since(1).ignorable(),
        is_sensitive: bool                    => since(0),
        synonyms: Vec<DescribeConfigsSynonym> => since(1).ignorable(),
        config_type: i8                       => since(3).ignorable(),
        documentation: Option<Str> = empty()  => since(3).nullable(0).ignorable(),
    }

    /// DescribeConfigsSynonym
    struct DescribeConfigsSynonym {
        name: Str                    => since(1),
        value: Option<Str> = empty() => since(1).nullable(0),
        source: i8                   => since(1),
    }
}
