//! The brokers of the cluster, and who leads which partition.

use super::prelude::*;

message! {
    /// Asks any broker for its view of the cluster.
    request MetadataRequest = METADATA, versions 0..=13, flexible 9 => MetadataResponse {
        /// The topics asked about; null is all, and in version 0 none is all.
        topics: Option<Vec<MetadataRequestTopic>> = empty() => since(0).nullable(1),
        /// Whether asking about a topic may create it.
        allow_auto_topic_creation: bool = true              => since(4),
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool         => versions(8, 10),
        /// Whether to say what the client may do with each topic.
        include_topic_authorized_operations: bool           => since(8),
    }

    /// A topic asked about.
    struct MetadataRequestTopic {
        /// The topic's id; zero to ask by name.
        topic_id: Uuid              => since(10).ignorable(),
        /// The topic's name; null to ask by id.
        name: Option<Str> = empty() => since(0).nullable(10).entity(TopicName),
    }
}

message! {
    /// A broker's view of the cluster.
    response MetadataResponse, versions 0..=13, flexible 9 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                         => since(3).ignorable(),
        /// The brokers.
        brokers: Vec<MetadataResponseBroker>          => since(0),
        /// The cluster's id.
        cluster_id: Option<Str>                       => since(2).nullable(2).ignorable(),
        /// The controller, or −1; brokers of KRaft clusters name a random broker that passes requests on.
        controller_id: i32 = -1                       => since(1).ignorable().entity(BrokerId),
        /// The topics.
        topics: Vec<MetadataResponseTopic>            => since(0),
        /// What the client may do with the cluster, a bit to an operation; the lowest number if it was not asked.
        cluster_authorized_operations: i32 = i32::MIN => versions(8, 10),
        /// The error, or none.
        error_code: ErrorCode                         => since(13).ignorable(),
    }

    /// A broker.
    struct MetadataResponseBroker {
        /// The broker.
        node_id: i32      => since(0).entity(BrokerId),
        /// Its host.
        host: Str         => since(0),
        /// Its port.
        port: i32         => since(0),
        /// Its rack.
        rack: Option<Str> => since(1).nullable(1).ignorable(),
    }

    /// A topic.
    struct MetadataResponseTopic {
        /// The error, or none.
        error_code: ErrorCode                       => since(0),
        /// The topic's name; null if it was asked by an id that nobody knows.
        name: Option<Str> = empty()                 => since(0).nullable(12).entity(TopicName),
        /// The topic's id; zero if it is not known.
        topic_id: Uuid                              => since(10).ignorable(),
        /// Whether Kafka keeps its own records in it.
        is_internal: bool                           => since(1).ignorable(),
        /// The partitions.
        partitions: Vec<MetadataResponsePartition>  => since(0),
        /// What the client may do with the topic, a bit to an operation; the lowest number if it was not asked.
        topic_authorized_operations: i32 = i32::MIN => since(8),
    }

    /// A partition.
    struct MetadataResponsePartition {
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// The partition.
        partition_index: i32       => since(0),
        /// The leader, or −1 if there is none.
        leader_id: i32             => since(0).entity(BrokerId),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1     => since(7).ignorable(),
        /// The brokers that hold the partition.
        replica_nodes: BrokerIds    => since(0).entity(BrokerId),
        /// Those of them that are in sync with the leader.
        isr_nodes: BrokerIds        => since(0).entity(BrokerId),
        /// Those of them that cannot be reached.
        offline_replicas: BrokerIds => since(5).ignorable().entity(BrokerId),
    }
}
