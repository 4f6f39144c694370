//! The futures of `Kafka`, its calls and its admin, dropped.

use std::time::Duration;

use milena::{
    ErrorKind, Kafka,
    admin::{NewTopic, OffsetSpec},
    embedded::{Api, EmbeddedCluster, MemoryNetwork},
    wire::{
        ErrorCode,
        messages::{DescribeClusterRequest, InitProducerIdRequest, ListGroupsRequest},
    },
};

use tokio::time::sleep;

use super::{Cut, OTHER, SETTLING, TOPIC, at_every_cut, at_every_poll, no_task_is_left, paused};

#[test]
fn a_dropped_connect_leaves_nothing_behind() {
    at_every_poll(async |world, cut| connects(&world.network, &world.cluster, &[], cut).await);
}

/// With SASL there are more steps to be dropped in.
#[test]
fn a_dropped_login_leaves_nothing_behind() {
    const LOGIN: &[(&str, &str)] = &[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        (
            "sasl.jaas.config",
            r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="a" password="b";"#,
        ),
    ];
    at_every_cut(&paused, async |cut| {
        let network = MemoryNetwork::new().latency(Duration::from_millis(1)..=Duration::from_millis(1));
        let builder = EmbeddedCluster::builder().memory(&network).topic(TOPIC, 1).sasl_user("a", "b");
        let cluster = builder.start().await.expect("the cluster starts");
        let is_enough = connects(&network, &cluster, LOGIN, cut).await;
        cluster.shutdown().await;
        no_task_is_left(cut).await;
        is_enough
    });
}

async fn connects(network: &MemoryNetwork, cluster: &EmbeddedCluster, login: &[(&str, &str)], cut: Cut) -> bool {
    let builder = || {
        let builder = Kafka::builder().memory_network(network).bootstrap(&cluster.bootstrap());
        login.iter().fold(builder, |builder, (name, value)| builder.property(name, value))
    };
    let before = network.open_connections();
    let connected = cut.of(builder().connect()).await;
    let is_enough = connected.is_some();
    drop(connected.map(|kafka| kafka.expect("it is reachable")));
    sleep(SETTLING).await;
    // What the world's own client has open may have closed meanwhile, and nothing came to it.
    assert!(network.open_connections() <= before, "a connection is left: {cut}");
    let again = builder().connect().await.expect("it is reachable");
    again.admin().topic(TOPIC).await.expect("it answers");
    is_enough
}

#[test]
fn a_dropped_question_for_versions_can_be_asked_again() {
    at_every_poll(async |world, cut| {
        let versions = cut.of(world.kafka.versions(1)).await;
        world.kafka.versions(1).await.expect("it answers");
        versions.map(|versions| versions.expect("it answers")).is_some()
    });
}

/// The answer of a dropped call is nobody's: the next one on the same connection gets its own.
#[test]
fn a_dropped_call_to_each_destination_can_be_made_again() {
    at_every_poll(async |world, cut| {
        let kafka = &world.kafka;
        let cluster = || kafka.request(DescribeClusterRequest::default()).into_future();
        let groups = || kafka.request(ListGroupsRequest::default());
        let any = cut.of(cluster()).await.is_some();
        let controller = cut.of(kafka.request(DescribeClusterRequest::default()).controller().into_future()).await;
        let broker = cut.of(groups().broker(1).into_future()).await.is_some();
        let coordinator = cut.of(groups().coordinator_of_group("g").into_future()).await.is_some();
        let leader = cut.of(groups().leader_of(OTHER, 2).into_future()).await.is_some();
        assert_eq!(cluster().await.expect("an answer").brokers.len(), 2, "{cut}");
        assert_eq!(groups().coordinator_of_group("g").await.expect("an answer").error_code, ErrorCode::NONE, "{cut}");
        any && controller.is_some() && broker && coordinator && leader
    });
}

/// A request that does something is sent once or not at all, and its future's end sends no second one.
#[test]
fn a_dropped_call_is_sent_once_at_most() {
    at_every_poll(async |world, cut| {
        let identity = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            transaction_timeout_ms: 1_000,
            ..Default::default()
        };
        let request = || world.kafka.request(identity.clone());
        let dropped = cut.of(request().into_future()).await;
        sleep(SETTLING).await;
        let sent: u64 = world.cluster.requests(Api::InitProducerId).values().sum();
        assert!(sent <= 1, "sent {sent} times: {cut}");
        let answer = request().await.expect("an answer");
        assert_eq!(answer.error_code, ErrorCode::NONE, "{cut}");
        dropped.is_some()
    });
}

#[test]
fn a_dropped_create_topic_makes_it_once_or_not_at_all() {
    at_every_poll(async |world, cut| {
        let admin = world.kafka.admin();
        let made = cut.of(admin.create_topic(NewTopic::new("new", 3, 1))).await;
        made.iter().for_each(|made| assert!(made.is_ok()));
        if let Err(error) = admin.create_topic(NewTopic::new("new", 3, 1)).await {
            assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS), "{error}");
        }
        assert_eq!(admin.topic("new").await.expect("it is there now").leaders.len(), 3);
        made.is_some()
    });
}

#[test]
fn a_dropped_delete_topic_deletes_it_once_or_not_at_all() {
    at_every_poll(async |world, cut| {
        let admin = world.kafka.admin();
        let deleted = cut.of(admin.delete_topic(OTHER)).await;
        deleted.iter().for_each(|deleted| assert!(deleted.is_ok()));
        if let Err(error) = admin.delete_topic(OTHER).await {
            assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{cut}: {error}");
        }
        admin.create_topic(NewTopic::new(OTHER, 1, 1)).await.expect("it is gone");
        deleted.is_some()
    });
}

#[test]
fn dropped_questions_of_the_admin_can_be_asked_again() {
    at_every_poll(async |world, cut| {
        let admin = world.kafka.admin();
        let described = cut.of(admin.topic(TOPIC)).await;
        let offsets = cut.of(admin.offsets(TOPIC, OffsetSpec::Latest)).await;
        assert_eq!(admin.topic(TOPIC).await.expect("a topic").leaders.len(), 1, "{cut}");
        assert_eq!(admin.offsets(TOPIC, OffsetSpec::Latest).await.expect("offsets"), [Some(0)], "{cut}");
        described.is_some() && offsets.is_some()
    });
}
