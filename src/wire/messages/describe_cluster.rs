//! The brokers or controllers of the cluster (KIP-700).

use super::prelude::*;

message! {
    /// Asks for the members of the cluster.
    request DescribeClusterRequest = DESCRIBE_CLUSTER, versions 0..=2, flexible 0 => DescribeClusterResponse {
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool => since(0),
        /// What the members are: 1 brokers, 2 controllers.
        endpoint_type: i8 = 1                       => since(1),
        /// Whether to tell brokers that are fenced too.
        include_fenced_brokers: bool                => since(2),
    }
}

message! {
    /// The members of the cluster.
    response DescribeClusterResponse, versions 0..=2, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                         => since(0),
        /// The error, or none.
        error_code: ErrorCode                         => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                    => since(0).nullable(0),
        /// What the members are: 1 brokers, 2 controllers.
        endpoint_type: i8 = 1                         => since(1),
        /// The cluster's id.
        cluster_id: Str                               => since(0),
        /// The controller, or −1.
        controller_id: i32 = -1                       => since(0).entity(BrokerId),
        /// The members.
        brokers: Vec<DescribeClusterBroker>           => since(0),
        /// What the client may do with the cluster, a bit to an operation; the lowest number if it was not asked.
        cluster_authorized_operations: i32 = i32::MIN => since(0),
    }

    /// A broker or controller.
    struct DescribeClusterBroker {
        /// The member.
        broker_id: i32    => since(0).entity(BrokerId),
        /// Its host.
        host: Str         => since(0),
        /// Its port.
        port: i32         => since(0),
        /// Its rack.
        rack: Option<Str> => since(0).nullable(0),
        /// Whether it is fenced.
        is_fenced: bool   => since(2),
    }
}
