//! A cluster whose every time is the longest there is.

use std::time::Duration;

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, EndTxnRequest, InitProducerIdRequest, JoinGroupRequest, OffsetCommitRequest,
    ProducerId, SaslAuthenticateRequest, SaslHandshakeRequest, TransactionalId,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

use super::{
    groups::{group, join_request, text},
    *,
};

const LONGEST: Duration = Duration::MAX;

fn builder() -> Builder {
    EmbeddedCluster::builder()
        .topic("orders", 1)
        .sasl_user("alice", "alice-secret")
        .sasl_session_lifetime(LONGEST)
        .handshake_timeout(LONGEST)
        .producer_id_expiration(LONGEST)
        .transactional_id_expiration(LONGEST)
        .max_transaction_timeout(LONGEST)
        .marker_delay(LONGEST)
        .session_timeouts(Duration::ZERO..=LONGEST)
        .consumer_session_timeout(LONGEST)
        .consumer_heartbeat_interval(LONGEST)
        .initial_rebalance_delay(LONGEST)
        .offsets_retention(LONGEST)
}

impl Client {
    async fn admitted(network: &MemoryNetwork) -> Self {
        let mut client = Self::within(network, 0).await;
        let plain = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        assert_eq!(client.call(1, &plain).await.error_code, 0);
        let token = SaslAuthenticateRequest::default().with_auth_bytes(b"\0alice\0alice-secret"[..].into());
        assert_eq!(client.call(2, &token).await.error_code, 0);
        client
    }

    /// Writes a record in a transaction and wants it to end.
    async fn transact(&mut self, id: &str) {
        let id = TransactionalId(text(id));
        let init = InitProducerIdRequest::default().with_transactional_id(Some(id.clone()));
        let told = self.call(5, &init.with_transaction_timeout_ms(i32::MAX)).await;
        assert_eq!(told.error_code, 0);
        let batch = Batch { attributes: 0x10, ..Batch::of(["x"]).producer(told.producer_id.0, told.producer_epoch, 0) };
        let request = produce_request("orders", 0, batch.bytes()).with_transactional_id(Some(id.clone()));
        assert_eq!(self.call(12, &request).await.responses[0].partition_responses[0].error_code, 0);
        let end = EndTxnRequest::default()
            .with_transactional_id(id)
            .with_producer_id(ProducerId(told.producer_id.0))
            .with_producer_epoch(told.producer_epoch)
            .with_committed(true);
        assert_eq!(self.call(5, &end).await.error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_are_points_in_time_all_the_same() {
    let network = MemoryNetwork::new();
    let cluster = builder().memory(&network).start().await.unwrap();
    let mut client = Client::admitted(&network).await;
    client.transact("one").await;
    cluster.set_marker_delay(LONGEST);
    client.transact("two").await;
    let states: Vec<_> = cluster.transactions().iter().map(|transaction| transaction.state).collect();
    assert_eq!(states, ["PrepareCommit", "PrepareCommit"]);

    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default().with_group_id(group("idle")).with_generation_id_or_member_epoch(-1);
    let answer = client.call(8, &commit.with_topics(vec![topic])).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let heartbeat = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("new"))
        .with_member_id(text("one"))
        .with_rebalance_timeout_ms(i32::MAX)
        .with_subscribed_topic_names(Some(vec![name("orders")]))
        .with_topic_partitions(Some(Vec::new()));
    assert_eq!(client.call(1, &heartbeat).await.heartbeat_interval_ms, i32::MAX);
    let mut waiting = Client::admitted(&network).await;
    waiting.send::<JoinGroupRequest>(3, &join_request("").with_session_timeout_ms(i32::MAX)).await;

    tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
    assert_eq!((cluster.group_members("new").len(), cluster.committed_offset("idle", "orders", 0)), (1, Some(1)));
    assert_eq!(client.fetch("orders", 0).await.0, 0, "still believed, still served");
    cluster.shutdown().await;
}
