//! Leaders telling the controller who is in sync (KIP-497). Brokers send it.

use super::prelude::*;

message! {
    /// Asks the controller for new in-sync replicas.
    request AlterPartitionRequest = ALTER_PARTITION, versions 2..=3, flexible 0 => AlterPartitionResponse {
        /// The leader that asks.
        broker_id: i32                              => since(0).entity(BrokerId),
        /// Its epoch as a registered broker.
        broker_epoch: i64 = -1                      => since(0),
        /// The topics.
        topics: Vec<AlterPartitionRequestTopicData> => since(0),
    }

    /// The partitions of one topic.
    struct AlterPartitionRequestTopicData {
        /// The topic's id (KIP-841).
        topic_id: Uuid                                      => since(2).ignorable(),
        /// The partitions.
        partitions: Vec<AlterPartitionRequestPartitionData> => since(0),
    }

    /// What is asked for one partition.
    struct AlterPartitionRequestPartitionData {
        /// The partition.
        partition_index: i32                  => since(0),
        /// The leader epoch.
        leader_epoch: i32                     => since(0),
        /// The brokers in sync, without their epochs.
        new_isr: Vec<i32>                     => versions(0, 2).entity(BrokerId),
        /// The brokers in sync (KIP-903).
        new_isr_with_epochs: Vec<BrokerState> => since(3),
        /// Whether the leader still recovers from an unclean election: 0 no, 1 yes (KIP-704).
        leader_recovery_state: i8             => since(1),
        /// The epoch of the partition that the leader knows; an old one is refused.
        partition_epoch: i32                  => since(0),
    }

    /// A broker in sync.
    struct BrokerState {
        /// The broker.
        broker_id: i32         => since(3).entity(BrokerId),
        /// Its epoch as a registered broker, or −1 not to check it.
        broker_epoch: i64 = -1 => since(3),
    }
}

message! {
    /// The state of each partition as the controller has it.
    response AlterPartitionResponse, versions 2..=3, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                        => since(0),
        /// The error of the whole request, or none.
        error_code: ErrorCode                        => since(0),
        /// The topics.
        topics: Vec<AlterPartitionResponseTopicData> => since(0),
    }

    /// The partitions of one topic.
    struct AlterPartitionResponseTopicData {
        /// The topic's id (KIP-841).
        topic_id: Uuid                                       => since(2).ignorable(),
        /// The partitions.
        partitions: Vec<AlterPartitionResponsePartitionData> => since(0),
    }

    /// The state of one partition.
    struct AlterPartitionResponsePartitionData {
        /// The partition.
        partition_index: i32      => since(0),
        /// The error, or none.
        error_code: ErrorCode     => since(0),
        /// The leader, or −1 if there is none.
        leader_id: i32            => since(0).entity(BrokerId),
        /// The leader epoch.
        leader_epoch: i32         => since(0),
        /// The brokers in sync.
        isr: Vec<i32>             => since(0).entity(BrokerId),
        /// Whether the leader still recovers from an unclean election: 0 no, 1 yes (KIP-704).
        leader_recovery_state: i8 => since(1).ignorable(),
        /// The partition's epoch, which grows with every change.
        partition_epoch: i32      => since(0),
    }
}
