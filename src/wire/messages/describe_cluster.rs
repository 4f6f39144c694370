//! DescribeCluster.

use super::prelude::*;

message! {
    /// DescribeClusterRequest
    request DescribeClusterRequest = DESCRIBE_CLUSTER, versions 0..=2, flexible 0 => DescribeClusterResponse {
        include_cluster_authorized_operations: bool => since(0),
        endpoint_type: i8 = 1                       => since(1),
        include_fenced_brokers: bool                => since(2),
    }
}

message! {
    /// DescribeClusterResponse
    response DescribeClusterResponse, versions 0..=2, flexible 0 {
        throttle_time_ms: i32                         => since(0),
        error_code: ErrorCode                         => since(0),
        error_message: Option<Str>                    => since(0).nullable(0),
        endpoint_type: i8 = 1                         => since(1),
        cluster_id: Str                               => since(0),
        controller_id: i32 = -1                       => since(0),
        brokers: Vec<DescribeClusterBroker>           => since(0),
        cluster_authorized_operations: i32 = i32::MIN => since(0),
    }

    /// DescribeClusterBroker
    struct DescribeClusterBroker {
        broker_id: i32    => since(0),
        host: Str         => since(0),
        port: i32         => since(0),
        rack: Option<Str> => since(0).nullable(0),
        is_fenced: bool   => since(2),
    }
}
