//! Switching features of the cluster on and off (KIP-584, KIP-778).

use super::prelude::*;

message! {
    /// Asks the controller to change the levels of features.
    request UpdateFeaturesRequest = UPDATE_FEATURES, versions 0..=2, flexible 0 => UpdateFeaturesResponse {
        /// How many milliseconds the controller may take.
        timeout_ms: i32 = 60000                => since(0),
        /// The changes.
        feature_updates: Vec<FeatureUpdateKey> => since(0),
        /// Whether to check only (KIP-778).
        validate_only: bool                    => since(1),
    }

    /// The change of one feature.
    struct FeatureUpdateKey {
        /// The feature's name, such as `metadata.version`.
        feature: Str           => since(0),
        /// The new level; less than 1 switches the feature off.
        max_version_level: i16 => since(0),
        /// Whether the level may fall.
        allow_downgrade: bool  => versions(0, 0),
        /// Which way the level may go: 1 up, 2 down without loss, 3 down at the price of metadata (KIP-778).
        upgrade_type: i8 = 1   => since(1),
    }
}

message! {
    /// What became of the changes: of each up to version 1, of all together since (KIP-1022).
    response UpdateFeaturesResponse, versions 0..=2, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
        /// The outcome for each feature.
        results: Vec<UpdatableFeatureResult> => versions(0, 1).ignorable(),
    }

    /// The outcome for one feature.
    struct UpdatableFeatureResult {
        /// The feature's name.
        feature: Str                         => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
