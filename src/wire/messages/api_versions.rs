//! ApiVersions.

use super::prelude::*;

message! {
    /// ApiVersionsRequest
    request ApiVersionsRequest = API_VERSIONS, versions 0..=4, flexible 3 => ApiVersionsResponse with header 0 {
        client_software_name: Str    => since(3).ignorable(),
        client_software_version: Str => since(3).ignorable(),
    }
}

message! {
    /// ApiVersionsResponse
    response ApiVersionsResponse, versions 0..=4, flexible 3 {
        error_code: ErrorCode                        => since(0),
        api_keys: Vec<ApiVersion>                    => since(0),
        throttle_time_ms: i32                        => since(1).ignorable(),
        supported_features: Vec<SupportedFeatureKey> => since(3).tag(0).ignorable(),
        finalized_features_epoch: i64 = -1           => since(3).tag(1).ignorable(),
        finalized_features: Vec<FinalizedFeatureKey> => since(3).tag(2).ignorable(),
        zk_migration_ready: bool                     => since(3).tag(3).ignorable(),
    }

    /// ApiVersion
    struct ApiVersion {
        api_key: i16     => since(0),
        min_version: i16 => since(0),
        max_version: i16 => since(0),
    }

    /// SupportedFeatureKey
    struct SupportedFeatureKey {
        name: Str        => since(3),
        min_version: i16 => since(3),
        max_version: i16 => since(3),
    }

    /// FinalizedFeatureKey
    struct FinalizedFeatureKey {
        name: Str              => since(3),
        max_version_level: i16 => since(3),
        min_version_level: i16 => since(3),
    }
}
