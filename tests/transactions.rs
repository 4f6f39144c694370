//! Transactions against the embedded cluster, in both versions of the protocol: what goes wrong at every step, and what a
//! consumer of committed records sees of it.
//!
//! Nothing waits: time is virtual. What the client was told is compared with what is visible.

use std::{collections::BTreeMap, time::Duration};

use milena::{
    ConsumerGroupMetadata, ErrorCode, ErrorKind, Kafka, Record, TopicPartition, TransactionalProducer,
    consumer::{IsolationLevel, StartFrom},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork, When},
    producer::{CommitError, FencedBy, Outcome, TransactionError},
};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
const ID: &str = "pricing-1";
/// By what transactions end at the coordinator: `transaction.version`.
const VERSIONS: [i16; 3] = [0, 1, 2];

struct World {
    cluster: EmbeddedCluster,
    network: MemoryNetwork,
    kafka: Kafka,
}

impl World {
    async fn new(version: i16) -> Self {
        let network = MemoryNetwork::new();
        let builder =
            EmbeddedCluster::builder().brokers(3).topic(TOPIC, PARTITIONS).feature("transaction.version", version);
        let cluster = builder.memory(&network).start().await.expect("starts");
        let kafka = Self::client(&cluster, &network, "milena").await;
        Self { cluster, network, kafka }
    }

    async fn client(cluster: &EmbeddedCluster, network: &MemoryNetwork, id: &str) -> Kafka {
        let impatient = [("request.timeout.ms", "1000"), ("retry.backoff.ms", "10"), ("delivery.timeout.ms", "20000")];
        let builder = impatient.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
        let builder = builder.bootstrap(&cluster.bootstrap()).client_id(id).memory_network(network);
        builder.connect().await.expect("it is reachable")
    }

    async fn producer(&self) -> TransactionalProducer {
        let builder = self.kafka.producer().max_block(Duration::from_secs(10));
        builder.transaction_timeout(Duration::from_secs(40)).transactional(ID).await.expect("an identity")
    }

    /// What a consumer of committed records sees, by partition.
    async fn visible(&self) -> Vec<String> {
        let reader = Self::client(&self.cluster, &self.network, "reader").await;
        let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), StartFrom::Beginning));
        let mut consumer =
            reader.consumer().isolation(IsolationLevel::ReadCommitted).assign(wanted).await.expect("assigned");
        let mut values = BTreeMap::new();
        while let Some(batch) = consumer.poll_for(Duration::from_secs(3)).await.expect("reads") {
            for record in &batch {
                let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                values.insert((batch.partition(), record.offset()), value);
            }
        }
        consumer.close().await.expect("closes");
        let mut values: Vec<String> = values.into_values().collect();
        values.sort();
        values
    }

    /// The state that the coordinator has the id in, once markers had time to be written.
    async fn state(&self) -> (i16, &'static str) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let known = self.cluster.transactions().into_iter().find(|known| known.transactional_id == ID);
        known.map(|known| (known.producer_epoch, known.state)).expect("the id is known")
    }
}

fn record(partition: i32, value: &str) -> Record<'_, milena::producer::Absent, milena::producer::Given<&str>> {
    Record::to(TOPIC).partition(partition).value(value)
}

/// One record to each partition in a transaction of its own, committed.
async fn commit(producer: &mut TransactionalProducer, name: &str) -> Result<(), CommitError> {
    let transaction = producer.begin().await.expect("begins");
    for partition in 0..PARTITIONS {
        let value = format!("{name}{partition}");
        if let Err(error) = transaction.enqueue(record(partition, &value)).await {
            assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        }
    }
    transaction.commit().await
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_visible_and_what_is_aborted_is_not() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        commit(&mut producer, "a").await.expect("committed");
        let transaction = producer.begin().await.expect("begins");
        let ack = transaction.send(record(0, "b0")).await.expect("written");
        assert!(ack.offset.is_some(), "before its transaction ends");
        transaction.enqueue(record(1, "b1")).await.expect("enqueued").detach();
        transaction.abort().await.expect("aborted");
        assert_eq!(producer.outcome().await.expect("known"), Some(Outcome::Aborted));
        commit(&mut producer, "c").await.expect("committed");
        assert_eq!(producer.outcome().await.expect("known"), Some(Outcome::Committed));
        producer.close().await.expect("closes");
        assert_eq!(world.visible().await, ["a0", "a1", "a2", "c0", "c1", "c2"], "version {version}");
    }
}

/// T1, T2: which versions of requests a transaction speaks follows the feature, not what the brokers have.
#[tokio::test(start_paused = true)]
async fn t1_t2_the_feature_decides_and_is_looked_at_again_at_the_next_begin() {
    let world = World::new(0).await;
    let mut producer = world.producer().await;
    let group = ConsumerGroupMetadata::new("billing");
    let apis = [Api::Produce, Api::TxnOffsetCommit, Api::EndTxn, Api::AddPartitionsToTxn];
    for (level, expected) in [(0, [11, 4, 4, 3]), (2, [13, 5, 5, -1]), (1, [11, 4, 4, 3])] {
        world.cluster.set_feature("transaction.version", level);
        world.kafka.versions(0).await.expect("the client looks");
        let before = apis.map(|api| world.cluster.requests(api));
        let transaction = producer.begin().await.expect("begins");
        // What is finalized meanwhile is for the next transaction.
        world.cluster.set_feature("transaction.version", 2 - level.min(1) * 2);
        world.kafka.versions(0).await.expect("the client looks");
        transaction.enqueue(record(0, "x")).await.expect("enqueued").detach();
        transaction.send_offsets(&group, [(TopicPartition::new(TOPIC, 0), 7)]).await.expect("taken");
        transaction.commit().await.expect("committed");
        let spoken = apis.map(|api| world.cluster.requests(api));
        for ((before, now), expected) in before.iter().zip(&spoken).zip(expected) {
            let new =
                now.iter().filter(|(version, count)| before.get(version) != Some(count)).map(|(version, _)| *version);
            let expected: Vec<i16> = Some(expected).filter(|version| *version >= 0).into_iter().collect();
            assert_eq!(new.collect::<Vec<_>>(), expected, "transaction.version {level}");
        }
    }
}

/// T3: lost and refused AddPartitionsToTxn, at the first partition and at a later one.
#[tokio::test(start_paused = true)]
async fn t3_a_failed_add_partitions_leaves_nothing_hanging() {
    let actions = [
        FaultAction::Disconnect(When::BeforeApplying),
        FaultAction::Disconnect(When::AfterApplying),
        FaultAction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED.0),
        FaultAction::Error(ErrorCode::CONCURRENT_TRANSACTIONS.0),
        FaultAction::Error(ErrorCode::NOT_COORDINATOR.0),
        FaultAction::Silence(When::AfterApplying),
    ];
    for (at, action) in actions.iter().flat_map(|action| [(0, action), (1, action)]) {
        let world = World::new(1).await;
        let mut producer = world.producer().await;
        let fault = world.cluster.inject(Fault::on(Api::AddPartitionsToTxn, action.clone()).skip(at));
        let transaction = producer.begin().await.expect("begins");
        let mut refused = false;
        for partition in 0..2 {
            refused |= transaction.send(record(partition, &format!("a{partition}"))).await.is_err();
        }
        let committed = transaction.commit().await;
        assert_eq!(fault.left(), 0);
        assert_eq!(committed.is_err(), refused, "{action:?} at {at}");
        commit(&mut producer, "b").await.expect("committed");
        let mut expected = vec!["b0", "b1", "b2"];
        if !refused {
            expected.splice(0..0, ["a0", "a1"]);
        }
        assert_eq!(world.visible().await, expected, "{action:?} at {at}");
        assert_eq!(world.state().await.1, "CompleteCommit", "{action:?} at {at}");
    }
}

/// T4: EndTxn lost before and after it was done, refused without a reason, never answered, the coordinator elsewhere.
#[tokio::test(start_paused = true)]
async fn t4_an_end_that_was_lost_is_asked_for_until_it_is_known() {
    let actions = [
        FaultAction::Disconnect(When::BeforeApplying),
        FaultAction::Disconnect(When::AfterApplying),
        FaultAction::Silence(When::BeforeApplying),
        FaultAction::Silence(When::AfterApplying),
        FaultAction::CutReply(6),
        FaultAction::Error(ErrorCode::UNKNOWN_SERVER_ERROR.0),
        FaultAction::Error(ErrorCode::NOT_COORDINATOR.0),
        FaultAction::Error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0),
        FaultAction::Error(ErrorCode::COORDINATOR_NOT_AVAILABLE.0),
        FaultAction::Error(ErrorCode::REQUEST_TIMED_OUT.0),
    ];
    for version in VERSIONS {
        for action in &actions {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            for (name, times) in [("a", 1), ("b", 3)] {
                let fault = world.cluster.inject(Fault::on(Api::EndTxn, action.clone()).times(times));
                commit(&mut producer, name).await.expect("committed in the end");
                assert_eq!(fault.left(), 0);
            }
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "c")).await.expect("written");
            world.cluster.inject(Fault::on(Api::EndTxn, action.clone()));
            transaction.abort().await.expect("aborted in the end");
            commit(&mut producer, "d").await.expect("the next one is whole");
            let expected = ["a0", "a1", "a2", "b0", "b1", "b2", "d0", "d1", "d2"];
            assert_eq!(world.visible().await, expected, "version {version}, {action:?}");
        }
    }
}

/// T4: nobody answers for longer than `max.block.ms`.
#[tokio::test(start_paused = true)]
async fn t4_an_unanswered_commit_is_unknown_until_the_coordinator_tells() {
    for version in VERSIONS {
        for when in [When::BeforeApplying, When::AfterApplying] {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            let silence = Fault::on(Api::EndTxn, FaultAction::Disconnect(when)).times(1_000_000);
            world.cluster.inject(silence);
            let error = commit(&mut producer, "a").await.expect_err("no answer");
            assert!(matches!(error, CommitError::Unknown(_)), "{error}");
            assert_eq!(error.as_error().kind(), ErrorKind::OutcomeUnknown);
            let error = producer.outcome().await.expect_err("still none");
            assert!(matches!(error, TransactionError::Refused(_)), "{error}");
            assert!(producer.begin().await.is_err(), "nothing begins before that is known");
            world.cluster.clear_faults();
            assert_eq!(producer.outcome().await.expect("an answer"), Some(Outcome::Committed));
            commit(&mut producer, "b").await.expect("committed");
            assert_eq!(world.visible().await, ["a0", "a1", "a2", "b0", "b1", "b2"], "version {version} {when:?}");
        }
    }
}

/// T4: meanwhile the coordinator gave up on the transaction, or somebody else took the id.
#[tokio::test(start_paused = true)]
async fn t4_what_became_of_a_lost_commit_is_never_claimed_wrongly() {
    for version in VERSIONS {
        for when in [When::BeforeApplying, When::AfterApplying] {
            for newer in [false, true] {
                let world = World::new(version).await;
                let mut producer = world.producer().await;
                world.cluster.inject(Fault::on(Api::EndTxn, FaultAction::Disconnect(when)).times(1_000_000));
                commit(&mut producer, "a").await.expect_err("no answer");
                if newer {
                    world.cluster.clear_faults();
                    world.producer().await;
                } else {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    world.cluster.clear_faults();
                }
                let told = match producer.outcome().await {
                    Ok(outcome) => outcome,
                    Err(TransactionError::Fatal(why)) => why.outcome(),
                    Err(error) => panic!("{error}"),
                };
                let visible = world.visible().await;
                let what = format!("version {version} {when:?} newer: {newer}");
                match told {
                    Some(Outcome::Committed) => assert_eq!(visible, ["a0", "a1", "a2"], "{what}"),
                    Some(Outcome::Aborted) => assert!(visible.is_empty(), "{what}"),
                    None => {}
                }
                // In the second version it can always be told, if nobody else came.
                if version == 2 && !newer {
                    assert!(told.is_some(), "{what}");
                }
            }
        }
    }
}

/// T5: the coordinator is busy, loading, elsewhere, or still ends what an older producer left open.
#[tokio::test(start_paused = true)]
async fn t5_an_identity_is_waited_for() {
    let codes = [
        ErrorCode::CONCURRENT_TRANSACTIONS,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ];
    for version in VERSIONS {
        let world = World::new(version).await;
        for code in codes {
            let fault = world.cluster.inject(Fault::error(Api::InitProducerId, code).times(3));
            let mut producer = world.producer().await;
            assert_eq!(fault.left(), 0);
            commit(&mut producer, "a").await.expect("committed");
        }
        let mut old = world.producer().await;
        world.cluster.set_marker_delay(Duration::from_secs(2));
        let transaction = old.begin().await.expect("begins");
        transaction.send(record(0, "left open")).await.expect("written");
        let mut new = world.producer().await;
        commit(&mut new, "b").await.expect("committed");
        let error = transaction.commit().await.expect_err("fenced");
        let CommitError::Fatal(why) = error else { panic!("{error}") };
        assert!(matches!(why.fenced_by(), Some(FencedBy::NewerProducer { .. })), "{why}");
        assert_eq!(why.outcome(), Some(Outcome::Aborted));
    }
}

/// The markers of a transaction take their time, and the next one begins at once.
#[tokio::test(start_paused = true)]
async fn t5_the_next_transaction_waits_for_slow_markers() {
    for version in VERSIONS {
        let world = World::new(version).await;
        world.cluster.set_marker_delay(Duration::from_millis(700));
        let mut producer = world.producer().await;
        for name in ["a", "b", "c"] {
            commit(&mut producer, name).await.expect("committed");
        }
        assert_eq!(world.visible().await.len(), 9, "version {version}");
    }
}

/// T6, the producer's side: offsets in the name of a member that its group has left behind.
#[tokio::test(start_paused = true)]
async fn t6_offsets_of_a_zombie_abort_the_transaction() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let zombie = ConsumerGroupMetadata::new("billing").member(3, "long-gone");
        let offsets = [(TopicPartition::new(TOPIC, 0), 7)];
        let transaction = producer.begin().await.expect("begins");
        transaction.send(record(0, "a")).await.expect("written");
        let error = transaction.send_offsets(&zombie, offsets.clone()).await.expect_err("refused");
        assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        let error = transaction.enqueue(record(0, "b")).await.expect_err("it can only be aborted");
        assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        let error = transaction.commit().await.expect_err("it can only be aborted");
        assert!(matches!(error, CommitError::Aborted(_)), "{error}");
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), None);
        let transaction = producer.begin().await.expect("the producer lives");
        transaction.send_offsets(&ConsumerGroupMetadata::new("billing"), offsets).await.expect("taken");
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), None, "not before the commit");
        transaction.commit().await.expect("committed");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), Some(7));
        assert!(world.visible().await.is_empty());
    }
}

/// Offsets go with their transaction, whatever happens on their way.
#[tokio::test(start_paused = true)]
async fn kip_447_offsets_are_committed_with_their_transaction() {
    let faults = [
        Fault::on(Api::TxnOffsetCommit, FaultAction::Disconnect(When::AfterApplying)),
        Fault::on(Api::TxnOffsetCommit, FaultAction::Silence(When::BeforeApplying)),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::NOT_COORDINATOR),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).times(3),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Fault::on(Api::AddOffsetsToTxn, FaultAction::Disconnect(When::AfterApplying)),
        Fault::error(Api::AddOffsetsToTxn, ErrorCode::CONCURRENT_TRANSACTIONS).times(2),
    ];
    for version in VERSIONS {
        for fault in &faults {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            world.cluster.inject(fault.clone());
            for (offset, commit) in [(5, true), (6, false)] {
                let transaction = producer.begin().await.expect("begins");
                transaction.enqueue(record(1, "a")).await.expect("enqueued").detach();
                let group = ConsumerGroupMetadata::new("billing");
                let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), offset));
                transaction.send_offsets(&group, wanted).await.expect("taken");
                if commit {
                    transaction.commit().await.expect("committed");
                } else {
                    transaction.abort().await.expect("aborted");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(world.cluster.committed_offset("billing", TOPIC, 2), Some(5), "version {version} {fault:?}");
            }
        }
    }
}

/// T7: a transaction that is dropped is aborted, and nothing of it gets into the next one.
#[tokio::test(start_paused = true)]
async fn t7_a_dropped_transaction_is_aborted_before_the_next_one_begins() {
    for version in VERSIONS {
        let world = World::new(version).await;
        world.cluster.set_marker_delay(Duration::from_millis(300));
        let mut producer = world.producer().await;
        for round in 0..4 {
            let transaction = producer.begin().await.expect("begins");
            if round > 0 {
                transaction.send(record(0, "dropped")).await.expect("written");
            }
            let waiting = transaction.enqueue(record(1, "dropped")).await.expect("enqueued");
            match round {
                // A commit that was never polled is no commit.
                2 => drop(transaction.commit()),
                // Leaked: nobody will ever end it.
                3 => std::mem::forget(transaction),
                _ => drop(transaction),
            }
            let transaction = producer.begin().await.expect("begins");
            assert_eq!(waiting.await.expect_err("KIP-654: it fails at once").kind(), ErrorKind::Aborted);
            transaction.send(record(2, &format!("kept{round}"))).await.expect("written");
            transaction.commit().await.expect("committed");
        }
        assert_eq!(world.visible().await, ["kept0", "kept1", "kept2", "kept3"], "version {version}");
    }
}

/// And nobody has to call anything for that, or to keep the producer.
#[tokio::test(start_paused = true)]
async fn t7_a_dropped_transaction_is_aborted_by_itself() {
    for version in VERSIONS {
        for keep in [true, false] {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "dropped")).await.expect("written");
            drop(transaction);
            let kept = keep.then_some(producer);
            assert_eq!(world.state().await.1, "CompleteAbort", "version {version}, producer kept: {keep}");
            drop(kept);
        }
    }
}

/// A commit whose future is dropped goes on.
#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_waits_for_goes_on() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let transaction = producer.begin().await.expect("begins");
        transaction.enqueue(record(0, "a")).await.expect("enqueued").detach();
        world.cluster.inject(Fault::on(Api::EndTxn, FaultAction::Delay(Duration::from_millis(500))));
        let waited = tokio::time::timeout(Duration::from_millis(100), transaction.commit()).await;
        assert!(waited.is_err(), "it takes longer");
        assert_eq!(producer.outcome().await.expect("known in the end"), Some(Outcome::Committed));
        assert_eq!(world.visible().await, ["a"]);
    }
}

/// T8: no record is written.
#[tokio::test(start_paused = true)]
async fn t8_a_transaction_whose_every_record_failed_is_aborted_and_nothing_hangs() {
    let codes = [ErrorCode::INVALID_RECORD, ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::TRANSACTION_ABORTABLE];
    for version in VERSIONS {
        for code in codes {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            world.cluster.inject(Fault::error(Api::Produce, code).times(PARTITIONS as usize));
            let began = tokio::time::Instant::now();
            let error = commit(&mut producer, "a").await.expect_err("nothing was written");
            assert!(matches!(error, CommitError::Aborted(_)), "{error}");
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            world.cluster.clear_faults();
            commit(&mut producer, "b").await.expect("committed");
            assert_eq!(world.visible().await, ["b0", "b1", "b2"], "version {version} {code}");
        }
    }
}

/// Batches that are lost, refused for a while, or out of order: what is committed is there once.
#[tokio::test(start_paused = true)]
async fn lost_batches_are_written_once() {
    let actions = [
        FaultAction::Disconnect(When::BeforeApplying),
        FaultAction::Disconnect(When::AfterApplying),
        FaultAction::Silence(When::AfterApplying),
        FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER.0),
        FaultAction::Error(ErrorCode::CONCURRENT_TRANSACTIONS.0),
        FaultAction::Error(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0),
        FaultAction::Error(ErrorCode::INVALID_PRODUCER_EPOCH.0),
        FaultAction::Error(ErrorCode::UNKNOWN_PRODUCER_ID.0),
    ];
    for version in VERSIONS {
        for action in &actions {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            commit(&mut producer, "a").await.expect("committed");
            world.cluster.inject(Fault::on(Api::Produce, action.clone()).topic(TOPIC));
            let mut expected = vec!["a0", "a1", "a2"];
            match commit(&mut producer, "b").await {
                Ok(()) => expected.extend(["b0", "b1", "b2"]),
                Err(error) => assert!(matches!(error, CommitError::Aborted(_)), "{error}"),
            }
            commit(&mut producer, "c").await.expect("committed");
            expected.extend(["c0", "c1", "c2"]);
            assert_eq!(world.visible().await, expected, "version {version}, {action:?}");
        }
    }
}

/// A partition's leader is away until the records' time is over.
#[tokio::test(start_paused = true)]
async fn kip_588_records_that_run_out_of_time_cost_a_transaction_and_not_the_producer() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        commit(&mut producer, "a").await.expect("committed");
        world.cluster.inject(Fault::on(Api::Produce, FaultAction::Disconnect(When::AfterApplying)).times(1_000_000));
        let error = commit(&mut producer, "b").await.expect_err("no time left");
        assert!(matches!(error, CommitError::Aborted(_)), "{error}");
        world.cluster.clear_faults();
        commit(&mut producer, "c").await.expect("committed");
        assert_eq!(world.visible().await, ["a0", "a1", "a2", "c0", "c1", "c2"], "version {version}");
    }
}

/// The coordinator moves between any two steps.
#[tokio::test(start_paused = true)]
async fn the_coordinator_moves_at_every_step() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        for round in 0..6 {
            let elsewhere = |step: i32| world.cluster.move_coordinator(ID, (round + step) % 3).expect("moves");
            elsewhere(0);
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "a")).await.expect("written");
            elsewhere(1);
            transaction.send(record(1, "b")).await.expect("written");
            transaction
                .send_offsets(&ConsumerGroupMetadata::new("g"), [(TopicPartition::new(TOPIC, 0), 1)])
                .await
                .expect("taken");
            elsewhere(2);
            transaction.commit().await.expect("committed");
        }
        assert_eq!(world.visible().await.len(), 12, "version {version}");
    }
}

/// Whoever is fenced is told by whom, and nothing of it is visible.
#[tokio::test(start_paused = true)]
async fn fenced_is_terminal_and_says_by_whom() {
    for version in VERSIONS {
        for timed_out in [false, true] {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            commit(&mut producer, "a").await.expect("committed");
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "b")).await.expect("written");
            let newer = if timed_out {
                tokio::time::sleep(Duration::from_secs(50)).await;
                None
            } else {
                Some(world.producer().await)
            };
            let late = transaction.send(record(1, "late")).await;
            assert!(late.is_err(), "version {version}");
            let error = transaction.commit().await.expect_err("fenced");
            if timed_out && version == 2 {
                // The coordinator lets a producer of the second version go on.
                assert!(matches!(error, CommitError::Aborted(_)), "{error}");
                commit(&mut producer, "c").await.expect("KIP-588: the producer lives");
                assert_eq!(world.visible().await, ["a0", "a1", "a2", "c0", "c1", "c2"]);
                continue;
            }
            let CommitError::Fatal(why) = error else { panic!("version {version}: {error}") };
            let by = why.fenced_by().expect("fenced");
            assert_eq!(by == FencedBy::TransactionTimeout, timed_out, "version {version}: {by:?}");
            assert_eq!(why.outcome(), Some(Outcome::Aborted));
            assert_eq!(why.as_error().kind(), ErrorKind::Fenced);
            assert!(matches!(producer.begin().await, Err(TransactionError::Fatal(_))));
            drop(newer);
            assert_eq!(world.visible().await, ["a0", "a1", "a2"], "version {version}");
        }
    }
}

/// KIP-654: what is not on the wire does not go there any more.
#[tokio::test(start_paused = true)]
async fn kip_654_an_abort_writes_nothing_more() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let sent = || world.cluster.requests(Api::Produce).values().sum::<u64>();
        let before = sent();
        let transaction = producer.begin().await.expect("begins");
        let mut waiting = Vec::new();
        for partition in 0..PARTITIONS {
            waiting.push(transaction.enqueue(record(partition, "never")).await.expect("enqueued"));
        }
        transaction.abort().await.expect("aborted");
        for delivery in waiting {
            let error = delivery.await.expect_err("aborted");
            assert_eq!((error.kind(), error.maybe_written()), (ErrorKind::Aborted, false));
        }
        assert_eq!(sent(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_transactions_are_refused() {
    let world = World::new(2).await;
    let producer = || world.kafka.producer();
    let refused = [
        producer().acks(milena::producer::Acks::Leader).transactional(ID).await,
        producer().idempotence(false).transactional(ID).await,
        producer().transactional("").await,
        producer().transaction_timeout(Duration::ZERO).transactional(ID).await,
    ];
    for refused in refused {
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Config);
    }
    let too_long = producer().transaction_timeout(Duration::from_secs(100_000)).transactional(ID).await;
    assert_eq!(too_long.expect_err("refused").code(), Some(ErrorCode::INVALID_TRANSACTION_TIMEOUT));
    let silent = world
        .cluster
        .inject(Fault::on(Api::InitProducerId, FaultAction::Disconnect(When::AfterApplying)).times(1_000_000));
    let nobody = producer().max_block(Duration::from_secs(3)).transactional(ID).await;
    assert_eq!(nobody.expect_err("in time").kind(), ErrorKind::Timeout);
    assert!(silent.left() < 1_000_000);
}
