//! Faults for some clients and not for others, errors for every request, and brokers that stand still.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        FindCoordinatorRequest, GroupId, HeartbeatRequest, HeartbeatResponse, InitProducerIdRequest, MetadataRequest,
        TransactionalId,
    },
};
use tokio::time::timeout;

use super::{
    super::{Api, Fault, FaultAction, When, api::SERVED, refusal},
    *,
};
use crate::{
    ErrorCode,
    wire::{
        self,
        tree::{Node, Tree, Value},
    },
};

async fn three() -> (EmbeddedCluster, MemoryNetwork) {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 3).memory(&network).start().await.unwrap();
    (cluster, network)
}

fn codes(node: &Node, found: &mut Vec<i64>) {
    if let (true, Value::Int(code)) = (node.name.ends_with("error_code"), &node.value) {
        found.push(*code);
    }
    node.children().iter().for_each(|child| codes(child, found));
}

#[test]
fn every_request_can_be_refused_in_every_version() {
    for (api, first, last) in SERVED {
        let tables = wire::Api::of_key(wire::ApiKey(*api as i16)).unwrap();
        for version in (*first).max(*tables.request.versions.start())..=*last {
            let request = refusal::shortest(&tables.request, version).into();
            let answer = refusal::of(tables, version, &request, 58);
            let tree = Tree::read(&tables.response, version, answer.clone().into());
            assert!(tree.fault.is_none(), "{api:?} v{version}: {:?}\n{tree}", tree.fault);
            let mut found = Vec::new();
            codes(&tree.root, &mut found);
            assert!(found.iter().all(|code| *code == 58), "{api:?} v{version}\n{tree}");
        }
    }
}

#[test]
fn a_refusal_names_what_was_asked() {
    use kafka_protocol::messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, DeleteGroupsRequest, DeleteGroupsResponse,
        OffsetCommitRequest, OffsetCommitResponse,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    };
    fn refused<Q: Request>(version: i16, request: &Q) -> Q::Response {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        let tables = wire::Api::of_key(wire::ApiKey(Q::KEY)).unwrap();
        let mut answer = Bytes::from(refusal::of(tables, version, &body.freeze(), 58));
        let response = Q::Response::decode(&mut answer, version).unwrap();
        assert!(answer.is_empty());
        response
    }
    for version in 2..=9 {
        let partitions = vec![OffsetCommitRequestPartition::default().with_partition_index(7)];
        let topic = OffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(partitions);
        let request = OffsetCommitRequest::default().with_topics(vec![topic]);
        let OffsetCommitResponse { topics, .. } = refused(version, &request);
        let partition = &topics[0].partitions[0];
        assert_eq!(
            (&**topics[0].name, partition.partition_index, partition.error_code),
            ("orders", 7, 58),
            "v{version}"
        );
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(StrBytes::from_static_str("g"))]);
        let DeleteGroupsResponse { results, .. } = refused(version, &request);
        assert_eq!((&**results[0].group_id, results[0].error_code), ("g", 58), "v{version}");
    }
    let topic = AddPartitionsToTxnTopic::default().with_name(name("orders")).with_partitions(vec![1, 2]);
    let request = AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![topic]);
    let AddPartitionsToTxnResponse { results_by_topic_v3_and_below: topics, .. } = refused(3, &request);
    let partitions: Vec<_> =
        topics[0].results_by_partition.iter().map(|it| (it.partition_index, it.partition_error_code)).collect();
    assert_eq!(partitions, [(1, 58), (2, 58)]);
}

fn heartbeat(group: &str) -> HeartbeatRequest {
    HeartbeatRequest::default().with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
}

#[tokio::test]
async fn faults_are_for_one_group_one_transactional_id_one_client() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let code = ResponseError::CoordinatorLoadInProgress.code();
    let error = |api| Fault::error(api, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    cluster.inject(error(Api::Heartbeat).group("billing"));
    let HeartbeatResponse { error_code: other, .. } = client.call(4, &heartbeat("shipping")).await;
    assert_ne!(other, code, "another group");
    assert_eq!(client.call(4, &heartbeat("billing")).await.error_code, code);
    assert_ne!(client.call(4, &heartbeat("billing")).await.error_code, code, "once");

    cluster.inject(error(Api::InitProducerId).transactional_id("pay-1"));
    let init = |id: Option<&'static str>| {
        let id = id.map(|id| TransactionalId(StrBytes::from_static_str(id)));
        InitProducerIdRequest::default().with_transactional_id(id).with_transaction_timeout_ms(1000)
    };
    for (id, expected) in [(None, 0), (Some("pay-2"), 0), (Some("pay-1"), code), (Some("pay-1"), 0)] {
        assert_eq!(client.call(4, &init(id)).await.error_code, expected, "{id:?}");
    }

    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![StrBytes::from_static_str("billing")]);
    cluster.inject(error(Api::FindCoordinator).group("billing"));
    assert_eq!(client.call(4, &find).await.coordinators[0].error_code, code);

    cluster.inject(error(Api::Metadata).client_id("somebody else"));
    let mine =
        cluster.inject(Fault::on(Api::Metadata, FaultAction::Disconnect(When::BeforeApplying)).client_id("test"));
    client.send(9, &MetadataRequest::default()).await;
    client.closed().await;
    assert_eq!(mine.left(), 0);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_broker_takes_nothing_and_goes_on_where_it_stood() {
    let (cluster, network) = three().await;
    let mut client = Client::within(&network, 1).await;
    let mut other = Client::within(&network, 0).await;
    client.call(9, &MetadataRequest::default()).await;
    cluster.pause(1);
    client.send(9, &MetadataRequest::default()).await;
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, client.frame()).await.is_err(), "an hour without a word");
    other.call(9, &MetadataRequest::default()).await;
    cluster.resume(1);
    let answer = timeout(hour, client.frame()).await.expect("it goes on").expect("an answer");
    assert_eq!((&answer[..4]).get_i32(), 2, "to what was asked meanwhile");
    cluster.pause(1);
    cluster.kill(1).await;
    client.closed().await;
    cluster.restart(1).await.unwrap();
    Client::within(&network, 1).await.call(9, &MetadataRequest::default()).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn cut_connections_are_gone_and_new_ones_are_taken() {
    let (cluster, network) = three().await;
    let (mut first, mut second) = (Client::within(&network, 0).await, Client::within(&network, 0).await);
    let mut other = Client::within(&network, 1).await;
    first.call(9, &MetadataRequest::default()).await;
    second.send(12, &fetch_request("orders", 0).with_max_wait_ms(60_000)).await;
    other.call(9, &MetadataRequest::default()).await;
    cluster.disconnect(0).await;
    first.closed().await;
    second.closed().await;
    other.call(9, &MetadataRequest::default()).await;
    Client::within(&network, 0).await.call(9, &MetadataRequest::default()).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_moved_coordinator_is_another_broker_while_it_lives() {
    let (cluster, network) = three().await;
    let mut client = Client::within(&network, 0).await;
    let find = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("billing"));
    let first = client.call(3, &find).await.node_id.0;
    let next = (first + 1) % 3;
    cluster.move_coordinator("billing", next).unwrap();
    assert_eq!(client.call(3, &find).await.node_id.0, next);
    let mut old = Client::within(&network, first).await;
    assert_eq!(old.call(4, &heartbeat("billing")).await.error_code, ResponseError::NotCoordinator.code());
    let mut new = Client::within(&network, next).await;
    assert_ne!(new.call(4, &heartbeat("billing")).await.error_code, ResponseError::NotCoordinator.code());
    cluster.kill(next).await;
    let survivor = (first + 2) % 3;
    let mut client = Client::within(&network, survivor).await;
    assert_ne!(client.call(3, &find).await.node_id.0, next);
    assert!(cluster.move_coordinator("billing", 3).is_err(), "there is no broker 3");
    cluster.shutdown().await;
}
