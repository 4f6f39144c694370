//! Who is there: ApiVersions, DescribeCluster, FindCoordinator.

use kafka_protocol::{
    ResponseError,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, describe_cluster_response::DescribeClusterBroker,
        find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{Call, Serve};
use crate::embedded::{
    Node,
    reply::{Body, Unanswered},
};

impl Serve for ApiVersionsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let named = [&self.client_software_name, &self.client_software_version].iter().all(|name| is_name(name));
        let mut response = match call.forced_code() {
            0 if call.version >= 3 && !named => refused(ResponseError::InvalidRequest.code()),
            0 => {
                call.session.stage().versions_told();
                call.shared.offers.response(call.version)
            }
            code => refused(code),
        };
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        call.encode(&response)
    }
}

fn refused(code: i16) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(code)
}

/// What the name and version of a client's software may look like (KIP-511).
fn is_name(text: &str) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric();
    let (bytes, inner) = (text.as_bytes(), |byte: &u8| letter(byte) || matches!(byte, b'-' | b'.'));
    bytes.first().is_some_and(letter) && bytes.last().is_some_and(letter) && bytes.iter().all(inner)
}

impl Serve for DescribeClusterRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let brokers = call.shared.alive().into_iter().map(|node| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(node.id))
                .with_host(StrBytes::from_string(node.host))
                .with_port(node.port.into())
                .with_rack(node.rack.map(StrBytes::from_string))
        });
        let response = DescribeClusterResponse::default()
            .with_throttle_time_ms(call.throttle_ms())
            .with_error_code(call.forced_code())
            .with_cluster_id(StrBytes::from_string(call.shared.cluster_id.clone()))
            .with_controller_id(BrokerId(call.shared.controller()));
        call.encode(&response.with_brokers(brokers.collect()))
    }
}

impl Serve for FindCoordinatorRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut response = FindCoordinatorResponse::default();
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        if call.version >= 4 {
            response.coordinators = self.coordinator_keys.into_iter().map(|key| call.coordinator(key)).collect(); // KIP-699
            return call.encode(&response);
        }
        let found = call.coordinator(self.key);
        let response = response
            .with_error_code(found.error_code)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port);
        call.encode(&response)
    }
}

impl Call {
    /// The broker that coordinates a group or a transactional id: always the same one while all brokers live.
    fn coordinator(&self, key: StrBytes) -> Coordinator {
        let chosen = self.shared.coordinator(&key);
        let coordinator = Coordinator::default().with_key(key);
        match (self.forced_code(), chosen) {
            (0, Some(Node { id, host, port, .. })) => {
                coordinator.with_node_id(BrokerId(id)).with_host(StrBytes::from_string(host)).with_port(port.into())
            }
            (0, None) => nowhere(coordinator, ResponseError::CoordinatorNotAvailable.code()),
            (code, _) => nowhere(coordinator, code),
        }
    }

    /// Whether this broker coordinates a group or a transactional id, and no fault speaks against it. A fault about one
    /// topic does not: it leaves the others alone.
    ///
    /// # Errors
    /// The code that the reply is to carry.
    pub(super) fn coordinates(&self, key: &str) -> Result<(), i16> {
        let forced = self.forced.as_ref().filter(|forced| forced.topic.is_none());
        match (forced.map_or(0, |forced| forced.code), self.shared.coordinator(key)) {
            (0, Some(node)) if node.id == self.broker => Ok(()),
            (0, Some(_)) => Err(ResponseError::NotCoordinator.code()),
            (0, None) => Err(ResponseError::CoordinatorNotAvailable.code()),
            (code, _) => Err(code),
        }
    }
}

fn nowhere(coordinator: Coordinator, code: i16) -> Coordinator {
    coordinator.with_error_code(code).with_node_id(BrokerId(-1)).with_port(-1)
}
