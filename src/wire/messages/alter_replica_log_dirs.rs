//! Moving replicas between the log directories of a broker (KIP-113).

use super::prelude::*;

message! {
    /// Asks one broker to keep replicas in other directories.
    request AlterReplicaLogDirsRequest = ALTER_REPLICA_LOG_DIRS, versions 1..=2, flexible 2
        => AlterReplicaLogDirsResponse {
        /// The directories and what moves there.
        dirs: Vec<AlterReplicaLogDir> => since(0),
    }

    /// What moves to one directory.
    struct AlterReplicaLogDir {
        /// The directory's absolute path on the broker.
        path: Str                            => since(0),
        /// The topics.
        topics: Vec<AlterReplicaLogDirTopic> => since(0),
    }

    /// The partitions of one topic.
    struct AlterReplicaLogDirTopic {
        /// The topic's name.
        name: Str            => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// Which moves have begun; `DescribeLogDirs` tells how far they are.
    response AlterReplicaLogDirsResponse, versions 1..=2, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                       => since(0),
        /// The outcome for each topic.
        results: Vec<AlterReplicaLogDirTopicResult> => since(0),
    }

    /// The outcome for one topic.
    struct AlterReplicaLogDirTopicResult {
        /// The topic's name.
        topic_name: Str                                    => since(0).entity(TopicName),
        /// The outcome for each partition.
        partitions: Vec<AlterReplicaLogDirPartitionResult> => since(0),
    }

    /// The outcome for one partition.
    struct AlterReplicaLogDirPartitionResult {
        /// The partition.
        partition_index: i32  => since(0),
        /// The error, or none.
        error_code: ErrorCode => since(0),
    }
}
