//! Requests in the caller's own words: who gets them, what is repeated, and in which version they go.
//!
//! A fault that answers "no error" is a spy: it counts down at the broker that was asked and changes nothing.

use std::time::{Duration, Instant};

use milena::{
    Call, ErrorCode, ErrorKind, Kafka, Result,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, FaultHandle, MemoryNetwork, When},
    wire::{ApiKey, Request, messages::*},
};

const TOPIC: &str = "t";
const PATIENCE: Duration = Duration::from_secs(60);

async fn three_brokers() -> (EmbeddedCluster, Kafka) {
    let cluster = EmbeddedCluster::builder().brokers(3).topic(TOPIC, 6).start().await.expect("the cluster starts");
    let quick = [("request.timeout.ms", "1000"), ("retry.backoff.ms", "10"), ("reconnect.backoff.ms", "10")];
    let builder = quick.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
    let kafka = builder.bootstrap(&cluster.bootstrap()).connect().await.expect("it is reachable");
    (cluster, kafka)
}

async fn in_time<T>(work: impl IntoFuture<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work.into_future()).await.expect("in time")
}

fn spy(cluster: &EmbeddedCluster, api: Api, broker: i32) -> FaultHandle {
    cluster.inject(Fault::on(api, FaultAction::Error(0)).broker(broker).times(1000))
}

/// The brokers that were asked for a cluster's description while `work` ran, and how often.
async fn asked<T>(cluster: &EmbeddedCluster, work: impl IntoFuture<Output = Result<T>>) -> Vec<(i32, usize)> {
    let spies = [0, 1, 2].map(|broker| (broker, spy(cluster, Api::DescribeCluster, broker)));
    let outcome = in_time(work).await;
    cluster.clear_faults();
    outcome.expect("an answer");
    let counts = spies.iter().map(|(broker, spy)| (*broker, 1000 - spy.left()));
    counts.filter(|(_, times)| *times > 0).collect()
}

fn describe(kafka: &Kafka) -> Call<DescribeClusterRequest> {
    kafka.request(DescribeClusterRequest::default())
}

/// The coordinator of `key`, asked in the same words as anything else.
async fn coordinator(kafka: &Kafka, key: &str, key_type: i8) -> i32 {
    let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.into()], ..Default::default() };
    let answer = in_time(kafka.request(request)).await.expect("an answer");
    answer.coordinators[0].node_id
}

async fn leader(kafka: &Kafka, partition: usize) -> i32 {
    in_time(kafka.admin().topic(TOPIC)).await.expect("it is there").leaders[partition].expect("it is led").0
}

#[tokio::test]
async fn a_call_goes_where_it_is_sent() {
    let (cluster, kafka) = three_brokers().await;
    let controller = in_time(describe(&kafka)).await.expect("an answer").controller_id;
    for broker in [2, 0, 1] {
        assert_eq!(asked(&cluster, describe(&kafka).broker(broker)).await, [(broker, 1)]);
    }
    assert_eq!(asked(&cluster, describe(&kafka).controller()).await, [(controller, 1)]);
    assert_eq!(asked(&cluster, describe(&kafka).controller().fresh()).await, [(controller, 1)]);
    let topic_id = milena::wire::Uuid(1);
    for key in ["one", "two", "three", "four"] {
        let group = coordinator(&kafka, key, 0).await;
        assert_eq!(asked(&cluster, describe(&kafka).coordinator_of_group(key)).await, [(group, 1)], "{key}");
        let transaction = coordinator(&kafka, key, 1).await;
        let call = describe(&kafka).coordinator_of_transaction(key);
        assert_eq!(asked(&cluster, call).await, [(transaction, 1)], "{key}");
    }
    let share = describe(&kafka).coordinator_of_share("one", topic_id, 0);
    let served = in_time(kafka.versions(0)).await.expect("an answer").supports(ApiKey::FIND_COORDINATOR, 6);
    match in_time(share.timeout(Duration::from_secs(5))).await {
        Ok(_) => assert!(served),
        Err(error) => assert_eq!((served, error.kind()), (false, ErrorKind::UnsupportedVersion), "{error}"),
    }
    for partition in 0..6 {
        let leader = leader(&kafka, partition as usize).await;
        assert_eq!(asked(&cluster, describe(&kafka).leader_of(TOPIC, partition)).await, [(leader, 1)]);
    }
    assert_eq!(asked(&cluster, describe(&kafka)).await.len(), 1, "any broker is one broker");
}

/// It was told from what the client had heard minutes ago, which new partitions are not part of.
#[tokio::test]
async fn a_topic_is_described_as_it_is_now() {
    let (cluster, kafka) = three_brokers().await;
    let old = leader(&kafka, 0).await;
    cluster.move_leader(TOPIC, 0, (old + 1) % 3).expect("it exists");
    assert_eq!(leader(&kafka, 0).await, (old + 1) % 3);
}

#[tokio::test]
async fn a_coordinator_is_looked_up_once_and_anew_when_told() {
    let (cluster, kafka) = three_brokers().await;
    let lookups = cluster.inject(Fault::on(Api::FindCoordinator, FaultAction::Error(0)).times(1000));
    let count = || 1000 - lookups.left();
    for _ in 0..3 {
        in_time(describe(&kafka).coordinator_of_group("g")).await.expect("an answer");
    }
    assert_eq!(count(), 1);
    in_time(describe(&kafka).coordinator_of_group("g").fresh()).await.expect("an answer");
    assert_eq!(count(), 2);
    in_time(describe(&kafka).coordinator_of_group("another")).await.expect("an answer");
    in_time(describe(&kafka).coordinator_of_transaction("g")).await.expect("an answer");
    assert_eq!(count(), 4, "a transactional id is not a group");
    let calls = (0..20).map(|_| tokio::spawn(describe(&kafka).coordinator_of_group("shared").into_future()));
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("an answer");
    }
    assert_eq!(count(), 5, "twenty that miss the same key ask once");
}

#[tokio::test]
async fn a_coordinator_that_is_not_ready_is_waited_for_and_a_refusal_is_told() {
    let (cluster, kafka) = three_brokers().await;
    for code in [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS] {
        let busy = cluster.inject(Fault::on(Api::FindCoordinator, FaultAction::Error(code.0)).times(3));
        in_time(describe(&kafka).coordinator_of_group("g").fresh()).await.expect("an answer");
        assert_eq!(busy.left(), 0);
    }
    let code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    let refused = cluster.inject(Fault::on(Api::FindCoordinator, FaultAction::Error(code.0)).times(3));
    let error = in_time(describe(&kafka).coordinator_of_group("g").fresh()).await.expect_err("refused");
    assert_eq!((error.code(), refused.left()), (Some(code), 2), "{error}");
    assert!(error.to_string().contains("group g"), "{error}");
}

/// On virtual time: a deadline of the real clock may pass on a busy machine before the first refusal comes.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_never_ready_is_told_as_that() {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().memory(&network).start().await.expect("the cluster starts");
    let kafka = Kafka::builder().memory_network(&network).bootstrap(&cluster.bootstrap()).connect().await;
    let kafka = kafka.expect("it is reachable");
    let code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    cluster.inject(Fault::on(Api::FindCoordinator, FaultAction::Error(code.0)).times(usize::MAX));
    let call = describe(&kafka).coordinator_of_group("g").fresh().timeout(Duration::from_secs(10));
    assert_eq!(call.await.expect_err("never ready").code(), Some(code));
}

#[tokio::test]
async fn a_coordinator_that_died_is_left_for_the_next_one() {
    let (cluster, kafka) = three_brokers().await;
    let old = coordinator(&kafka, "g", 0).await;
    assert_eq!(asked(&cluster, describe(&kafka).coordinator_of_group("g")).await, [(old, 1)]);
    cluster.kill(old).await;
    let new = asked(&cluster, describe(&kafka).coordinator_of_group("g")).await;
    assert!(new.len() == 1 && new[0].0 != old, "{new:?} after {old}");
}

#[tokio::test]
async fn what_the_broker_says_is_handed_out_as_it_is_and_fresh_looks_again() {
    let (cluster, kafka) = three_brokers().await;
    let old = leader(&kafka, 0).await;
    let end = || {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] }];
        kafka.request(ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }).leader_of(TOPIC, 0)
    };
    let code = |answer: ListOffsetsResponse| answer.topics[0].partitions[0].error_code;
    assert_eq!(code(in_time(end()).await.expect("an answer")), ErrorCode::NONE);
    cluster.move_leader(TOPIC, 0, (old + 1) % 3).expect("it exists");
    assert_eq!(code(in_time(end()).await.expect("an answer")), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(code(in_time(end().fresh()).await.expect("an answer")), ErrorCode::NONE);
    cluster.move_leader(TOPIC, 0, old).expect("it exists");
    let found = end().elsewhere(|answer| answer.topics[0].partitions[0].error_code);
    assert_eq!(code(in_time(found.clone()).await.expect("an answer")), ErrorCode::NONE, "it looked by itself");
    // A code that says something else is handed out at once, and one that does not pass when the time is over.
    for (lasting, once) in [(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true), (ErrorCode::NOT_LEADER_OR_FOLLOWER, false)] {
        let fault = cluster.inject(Fault::on(Api::ListOffsets, FaultAction::Error(lasting.0)).times(1000));
        let answer = in_time(found.clone().timeout(Duration::from_millis(500))).await.expect("an answer");
        assert_eq!((code(answer), fault.left() == 999), (lasting, once), "{}", fault.left());
        cluster.clear_faults();
    }
}

#[tokio::test]
async fn what_does_no_harm_twice_is_repeated_and_the_rest_is_not() {
    let (cluster, kafka) = three_brokers().await;
    for when in [When::BeforeApplying, When::AfterApplying] {
        cluster.inject(Fault::on(Api::DescribeCluster, FaultAction::Disconnect(when)).times(2));
        assert_eq!(asked(&cluster, describe(&kafka)).await.len(), 1, "{when:?}");
    }
    let create = |name: &str| {
        let topic =
            CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        kafka.request(request).controller()
    };
    let lost = cluster.inject(Fault::on(Api::CreateTopics, FaultAction::Disconnect(When::AfterApplying)).times(2));
    let error = in_time(create("made")).await.expect_err("nobody knows");
    assert_eq!((error.kind(), error.maybe_written(), lost.left()), (ErrorKind::Disconnected, true, 1), "{error}");
    cluster.clear_faults();
    let answer = in_time(create("made")).await.expect("an answer");
    assert_eq!(answer.topics[0].error_code, ErrorCode::TOPIC_ALREADY_EXISTS, "it had worked");
}

#[tokio::test]
async fn a_request_that_cannot_have_been_sent_is_sent_whatever_it_is() {
    let (cluster, kafka) = three_brokers().await;
    cluster.kill(2).await;
    let topic = CreatableTopic { name: "late".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    let call = tokio::spawn(kafka.request(request).broker(2).into_future());
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.restart(2).await.expect("its port is free");
    let answer = in_time(async { call.await.expect("no panic") }).await.expect("an answer");
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn a_call_ends_in_its_time() {
    let (cluster, kafka) = three_brokers().await;
    let quick = Duration::from_millis(150);
    cluster.inject(Fault::on(Api::DescribeCluster, FaultAction::Silence(When::BeforeApplying)).times(1000));
    let calls: [(Call<_>, _); 4] = [
        (describe(&kafka), ErrorKind::Timeout),
        (describe(&kafka).broker(1), ErrorKind::Timeout),
        (describe(&kafka).broker(77), ErrorKind::Disconnected),
        (describe(&kafka).leader_of("nowhere", 0), ErrorKind::UnknownTopic),
    ];
    for (call, kind) in calls {
        let begun = Instant::now();
        let error = in_time(call.timeout(quick)).await.expect_err("no answer");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(begun.elapsed() < quick * 10, "{:?} for {error}", begun.elapsed());
    }
    let error = in_time(describe(&kafka).leader_of(TOPIC, 6).timeout(quick)).await.expect_err("it has six");
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
}

#[tokio::test]
async fn kip_219_the_silence_that_an_answer_asks_for_is_kept() {
    let (cluster, kafka) = three_brokers().await;
    let silence = Duration::from_millis(300);
    cluster.inject(Fault::on(Api::DescribeCluster, FaultAction::Throttle(silence)).broker(1));
    let begun = Instant::now();
    let answer = in_time(describe(&kafka).broker(1)).await.expect("an answer");
    assert_eq!(DescribeClusterRequest::throttle_time(&answer), silence);
    in_time(describe(&kafka).broker(0)).await.expect("another connection is not concerned");
    assert!(begun.elapsed() < silence, "{:?}", begun.elapsed());
    in_time(describe(&kafka).broker(1)).await.expect("an answer");
    assert!(begun.elapsed() >= silence, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_call_goes_in_the_version_it_is_pinned_to() {
    let (_cluster, kafka) = three_brokers().await;
    let single = || kafka.request(FindCoordinatorRequest { key: "g".into(), ..Default::default() });
    for (call, what) in
        [(single().version(3), "exactly"), (single().at_most(3), "at most"), (single().version(1), "old")]
    {
        let answer = in_time(call).await.expect("an answer");
        assert!(answer.node_id >= 0 && answer.coordinators.is_empty() && answer.port > 0, "{what}: {answer:?}");
    }
    let error = in_time(single()).await.expect_err("the newest version takes several keys instead");
    assert!(error.to_string().contains("key"), "{error}");
    let id = || kafka.request(InitProducerIdRequest::default());
    let refused = [
        (id().version(99), "InitProducerId has no version 99 here, only 0 to 6"),
        (id().version(6), "version 6 was asked for"),
        (id().at_most(-1), "at most -1 was asked for"),
    ];
    for (call, text) in refused {
        let error = in_time(call).await.expect_err("not in common");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_request_that_nobody_answers_is_refused_here() {
    let (_cluster, kafka) = three_brokers().await;
    let error = in_time(kafka.request(ProduceRequest::default())).await.expect_err("acks=0");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_broker_tells_what_it_offers() {
    let (_cluster, kafka) = three_brokers().await;
    let versions = in_time(kafka.versions(1)).await.expect("an answer");
    let range = versions.range(ApiKey::PRODUCE).expect("it takes records");
    assert!(versions.supports(ApiKey::PRODUCE, *range.end()) && versions.iter().len() >= 10, "{versions:?}");
    assert_eq!(versions.range(ApiKey::DESCRIBE_QUORUM), None, "the embedded broker has no quorum");
    let features = kafka.features();
    assert_eq!((features.epoch(), features.transaction_version()), (Some(1), 2), "those of a new cluster");
}
