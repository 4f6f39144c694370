//! Metadata.

use super::prelude::*;

message! {
    /// MetadataRequest
    request MetadataRequest = METADATA, versions 0..=13, flexible 9 => MetadataResponse {
        topics: Option<Vec<MetadataRequestTopic>> = empty() => since(0).nullable(1),
        allow_auto_topic_creation: bool = true              => since(4),
        include_cluster_authorized_operations: bool         => versions(8, 10),
        include_topic_authorized_operations: bool           => since(8),
    }

    /// MetadataRequestTopic
    struct MetadataRequestTopic {
        topic_id: Uuid              => since(10).ignorable(),
        name: Option<Str> = empty() => since(0).nullable(10),
    }
}

message! {
    /// MetadataResponse
    response MetadataResponse, versions 0..=13, flexible 9 {
        throttle_time_ms: i32                         => since(3).ignorable(),
        brokers: Vec<MetadataResponseBroker>          => since(0),
        cluster_id: Option<Str>                       => since(2).nullable(2).ignorable(),
        controller_id: i32 = -1                       => since(1).ignorable(),
        topics: Vec<MetadataResponseTopic>            => since(0),
        cluster_authorized_operations: i32 = i32::MIN => versions(8, 10),
        error_code: ErrorCode                         => since(13).ignorable(),
    }

    /// MetadataResponseBroker
    struct MetadataResponseBroker {
        node_id: i32      => since(0),
        host: Str         => since(0),
        port: i32         => since(0),
        rack: Option<Str> => since(1).nullable(1).ignorable(),
    }

    /// MetadataResponseTopic
    struct MetadataResponseTopic {
        error_code: ErrorCode                       => since(0),
        name: Option<Str> = empty()                 => since(0).nullable(12),
        topic_id: Uuid                              => since(10).ignorable(),
        is_internal: bool                           => since(1).ignorable(),
        partitions: Vec<MetadataResponsePartition>  => since(0),
        topic_authorized_operations: i32 = i32::MIN => since(8),
    }

    /// MetadataResponsePartition
    struct MetadataResponsePartition {
        error_code: ErrorCode      => since(0),
        partition_index: i32       => since(0),
        leader_id: i32             => since(0),
        leader_epoch: i32 = -1     => since(7).ignorable(),
        replica_nodes: Vec<i32>    => since(0),
        isr_nodes: Vec<i32>        => since(0),
        offline_replicas: Vec<i32> => since(5).ignorable(),
    }
}
