//! What a broker keeps in its log directories (KIP-113, KIP-827).

use super::prelude::*;

message! {
    /// Asks one broker about its log directories.
    request DescribeLogDirsRequest = DESCRIBE_LOG_DIRS, versions 1..=5, flexible 2 => DescribeLogDirsResponse {
        /// The topics asked about; null is all.
        topics: Option<Vec<DescribableLogDirTopic>> = empty() => since(0).nullable(0),
    }

    /// The partitions of one topic.
    struct DescribableLogDirTopic {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// The log directories of one broker.
    response DescribeLogDirsResponse, versions 1..=5, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32               => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode               => since(3).ignorable(),
        /// The log directories.
        results: Vec<DescribeLogDirsResult> => since(0),
    }

    /// One log directory.
    struct DescribeLogDirsResult {
        /// The error, or none.
        error_code: ErrorCode             => since(0),
        /// The directory's absolute path on the broker.
        log_dir: Str                      => since(0),
        /// The topics.
        topics: Vec<DescribeLogDirsTopic> => since(0),
        /// How many bytes its volume has, without tiered storage; −1 if it is not known (KIP-827).
        total_bytes: i64 = -1             => since(4).ignorable(),
        /// How many bytes of its volume are free, without tiered storage; −1 if it is not known (KIP-827).
        usable_bytes: i64 = -1            => since(4).ignorable(),
        /// Whether no new partitions are put there (KIP-1066).
        is_cordoned: bool                 => since(5).ignorable(),
    }

    /// The partitions of one topic.
    struct DescribeLogDirsTopic {
        /// The topic's name.
        name: Str                                 => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<DescribeLogDirsPartition> => since(0),
    }

    /// A replica in the directory.
    struct DescribeLogDirsPartition {
        /// The partition.
        partition_index: i32 => since(0),
        /// How many bytes its segments take.
        partition_size: i64  => since(0),
        /// How many offsets it lacks: a current replica up to the high watermark, a future one up to the current; −1 if
        /// it is not known.
        offset_lag: i64      => since(0),
        /// Whether it is being moved here and will replace the current replica once it is level.
        is_future_key: bool  => since(0),
    }
}
