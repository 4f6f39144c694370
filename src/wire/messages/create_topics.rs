//! Creating topics.

use super::prelude::*;

message! {
    /// Asks the controller to create topics, or only to check that it could.
    request CreateTopicsRequest = CREATE_TOPICS, versions 2..=7, flexible 5 => CreateTopicsResponse {
        /// The topics.
        topics: Vec<CreatableTopic> => since(0),
        /// How many milliseconds the broker may take.
        timeout_ms: i32 = 60000     => since(0),
        /// Whether to check only.
        validate_only: bool         => since(1),
    }

    /// A topic to create.
    struct CreatableTopic {
        /// The topic's name.
        name: Str                                    => since(0).entity(TopicName),
        /// How many partitions; −1 for the broker's default.
        num_partitions: i32                          => since(0),
        /// How many replicas; −1 for the broker's default.
        replication_factor: i16                      => since(0),
        /// Which brokers each partition is put on; empty leaves it to the controller.
        assignments: Vec<CreatableReplicaAssignment> => since(0),
        /// The settings.
        configs: Vec<CreatableTopicConfig>           => since(0),
    }

    /// Which brokers a partition is put on.
    struct CreatableReplicaAssignment {
        /// The partition.
        partition_index: i32 => since(0),
        /// The brokers; the first leads.
        broker_ids: Vec<i32> => since(0).entity(BrokerId),
    }

    /// A setting of the new topic.
    struct CreatableTopicConfig {
        /// The setting.
        name: Str                    => since(0),
        /// Its value.
        value: Option<Str> = empty() => since(0).nullable(0),
    }
}

message! {
    /// What became of each topic.
    response CreateTopicsResponse, versions 2..=7, flexible 5 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32             => since(2).ignorable(),
        /// The topics.
        topics: Vec<CreatableTopicResult> => since(0),
    }

    /// What became of a topic.
    struct CreatableTopicResult {
        /// The topic's name.
        name: Str                                             => since(0).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                                        => since(7).ignorable(),
        /// The error, or none.
        error_code: ErrorCode                                 => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()                  => since(1).nullable(0).ignorable(),
        /// Why the settings are not told, if they are not.
        topic_config_error_code: ErrorCode                    => since(5).tag(0).ignorable(),
        /// How many partitions it has.
        num_partitions: i32 = -1                              => since(5).ignorable(),
        /// How many replicas it has.
        replication_factor: i16 = -1                          => since(5).ignorable(),
        /// The settings.
        configs: Option<Vec<CreatableTopicConfigs>> = empty() => since(5).nullable(5).ignorable(),
    }

    /// A setting that the new topic has.
    struct CreatableTopicConfigs {
        /// The setting.
        name: Str                    => since(5),
        /// Its value.
        value: Option<Str> = empty() => since(5).nullable(5),
        /// Whether it cannot be changed.
        read_only: bool              => since(5),
        /// Where the value comes from.
        config_source: i8 = -1       => since(5).ignorable(),
        /// Whether the value is a secret.
        is_sensitive: bool           => since(5),
    }
}
