//! What a broker offers: API versions and features (KIP-35, KIP-511, KIP-584, KIP-1242).

use super::prelude::*;

message! {
    /// Asks a broker which versions it has, before anything else is sent. Version 5 (Kafka 4.4) also says whom the
    /// client means to ask, so that a broker of another cluster can send it back to its bootstrap servers (KIP-1242).
    request ApiVersionsRequest = API_VERSIONS, versions 0..=5, flexible 3 => ApiVersionsResponse with header 0 {
        /// The name of the client's library; letters, digits, dots and dashes only.
        client_software_name: Str    => since(3).ignorable(),
        /// The version of the client's library; letters, digits, dots and dashes only.
        client_software_version: Str => since(3).ignorable(),
        /// The cluster that the client means; null if it does not know.
        cluster_id: Option<Str>      => since(5).nullable(5).ignorable(),
        /// The broker or controller that the client means, or −1.
        node_id: i32 = -1            => since(5).ignorable(),
    }
}

message! {
    /// The versions and features of one broker. A broker that does not know the version asked for answers in version 0.
    response ApiVersionsResponse, versions 0..=5, flexible 3 {
        /// The error, or none.
        error_code: ErrorCode                        => since(0),
        /// The versions of each API.
        api_keys: Vec<ApiVersion>                    => since(0),
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                        => since(1).ignorable(),
        /// What the broker could have.
        supported_features: Vec<SupportedFeatureKey> => since(3).tag(0).ignorable(),
        /// Grows with every change of the finalized features; −1 if they are not known.
        finalized_features_epoch: i64 = -1           => since(3).tag(1).ignorable(),
        /// What the cluster has switched on; counts only where the epoch is known.
        finalized_features: Vec<FinalizedFeatureKey> => since(3).tag(2).ignorable(),
        /// Whether a controller is ready to take over from ZooKeeper.
        zk_migration_ready: bool                     => since(3).tag(3).ignorable(),
    }

    /// The versions of one API.
    struct ApiVersion {
        /// The API.
        api_key: i16     => since(0),
        /// The lowest version.
        min_version: i16 => since(0),
        /// The highest version.
        max_version: i16 => since(0),
    }

    /// A feature that the broker could have.
    struct SupportedFeatureKey {
        /// The feature's name.
        name: Str        => since(3),
        /// The lowest version.
        min_version: i16 => since(3),
        /// The highest version.
        max_version: i16 => since(3),
    }

    /// A feature that the cluster has switched on.
    struct FinalizedFeatureKey {
        /// The feature's name, such as `transaction.version`.
        name: Str              => since(3),
        /// The highest level that is on: the level of the cluster.
        max_version_level: i16 => since(3),
        /// The lowest level that is on.
        min_version_level: i16 => since(3),
    }
}
