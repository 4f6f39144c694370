//! Transactions against the embedded cluster, in both versions of the protocol: what goes wrong at every step, and what a
//! consumer of committed records sees of it.
//!
//! Nothing waits: time is virtual. What the client was told is compared with what is visible.

use std::{collections::BTreeMap, time::Duration};

use milena::{
    ConsumerGroupMetadata, ErrorCode, ErrorKind, Kafka, Record, TopicPartition, TransactionalProducer,
    consumer::{IsolationLevel, StartFrom},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork, When},
    producer::{CommitError, FencedBy, NotEnqueued, Outcome, TransactionError},
};

mod ends;
mod offsets;

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
        let is_denied = matches!(action, FaultAction::Error(code) if *code == ErrorCode::TOPIC_AUTHORIZATION_FAILED.0);
        assert_eq!(refused, is_denied, "whatever else happens is tried again: {action:?} at {at}");
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

/// T8: a record whose caller waited for memory gets in when the transaction has failed already.
#[tokio::test(start_paused = true)]
async fn t8_a_record_that_slips_in_behind_a_failure_does_not_hold_up_the_abort() {
    for version in VERSIONS {
        for elsewhere in [false, true] {
            let world = World::new(version).await;
            let builder = world.kafka.producer().buffer_memory(64 << 10).batch_size(64 << 10);
            let mut producer = builder.transactional(ID).await.expect("an identity");
            world.cluster.inject(Fault::error(Api::Produce, ErrorCode::INVALID_RECORD));
            let began = tokio::time::Instant::now();
            let transaction = producer.begin().await.expect("begins");
            let large = "x".repeat(40 << 10);
            let first = transaction.enqueue(record(0, &large)).await.expect("there is room");
            let late =
                transaction.enqueue(record(i32::from(elsewhere), &large)).await.expect("room once the first failed");
            assert!(first.await.is_err());
            assert_eq!(late.await.expect_err("it is not written").kind(), ErrorKind::Aborted);
            transaction.abort().await.expect("aborted");
            assert!(began.elapsed() < Duration::from_secs(1), "version {version}: {:?}", began.elapsed());
            commit(&mut producer, "b").await.expect("committed");
            assert_eq!(world.visible().await, ["b0", "b1", "b2"], "version {version}");
        }
    }
}

/// Batches that are lost, refused for a while, or out of order: what is committed is there once.
#[tokio::test(start_paused = true)]
async fn lost_batches_are_written_once() {
    let actions = [
        // What happens to a batch, and whether its transaction is committed all the same.
        (FaultAction::Disconnect(When::BeforeApplying), true),
        (FaultAction::Disconnect(When::AfterApplying), true),
        (FaultAction::Silence(When::AfterApplying), true),
        (FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER.0), true),
        (FaultAction::Error(ErrorCode::CONCURRENT_TRANSACTIONS.0), true),
        (FaultAction::Error(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0), false),
        (FaultAction::Error(ErrorCode::INVALID_PRODUCER_EPOCH.0), false),
        (FaultAction::Error(ErrorCode::UNKNOWN_PRODUCER_ID.0), false),
    ];
    for version in VERSIONS {
        for (action, must_commit) in &actions {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            commit(&mut producer, "a").await.expect("committed");
            world.cluster.inject(Fault::on(Api::Produce, action.clone()).topic(TOPIC));
            let mut expected = vec!["a0", "a1", "a2"];
            match commit(&mut producer, "b").await {
                Ok(()) => expected.extend(["b0", "b1", "b2"]),
                Err(error) => {
                    assert!(matches!(error, CommitError::Aborted(_)), "{error}");
                    assert!(!must_commit, "version {version}, {action:?}: {error}");
                }
            }
            commit(&mut producer, "c").await.expect("committed");
            expected.extend(["c0", "c1", "c2"]);
            assert_eq!(world.visible().await, expected, "version {version}, {action:?}");
        }
    }
}

/// The topic of an earlier transaction is made again while another one is open that has nothing to do with it, and then
/// takes part.
#[tokio::test(start_paused = true)]
async fn kip_516_a_topic_of_an_earlier_transaction_does_not_abort_the_open_one() {
    for version in VERSIONS {
        let world = World::new(version).await;
        world.cluster.create_topic("other", 1).expect("made");
        let mut producer = world.producer().await;
        for _ in 0..3 {
            let transaction = producer.begin().await.expect("begins");
            transaction.send(Record::to("other").partition(0).value("x")).await.expect("written");
            transaction.commit().await.expect("committed");
        }
        let transaction = producer.begin().await.expect("begins");
        transaction.send(record(0, "a")).await.expect("written");
        world.kafka.admin().delete_topic("other").await.expect("deleted");
        world.cluster.create_topic("other", 1).expect("made again");
        // Whoever looks for a leader hears of the new topic.
        for broker in [0, 1, 2] {
            world.cluster.move_leader(TOPIC, 0, broker).expect("moves");
            transaction.send(record(0, "b")).await.expect("written");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for _ in 0..3 {
            let ack =
                transaction.send(Record::to("other").partition(0).value("y")).await.expect("written to the new one");
            assert!(ack.offset.is_some_and(|offset| offset < 3), "version {version}: {ack:?}");
        }
        transaction.commit().await.expect("committed");
        commit(&mut producer, "c").await.expect("it goes on");
        assert_eq!(world.visible().await, ["a", "b", "b", "b", "c0", "c1", "c2"], "version {version}");
    }
}

/// A topic of the open transaction is made again: what stood in the old one is gone, and the transaction cannot be whole.
#[tokio::test(start_paused = true)]
async fn kip_516_a_topic_of_the_open_transaction_that_is_made_again_aborts_it() {
    for version in VERSIONS {
        let world = World::new(version).await;
        world.cluster.create_topic("other", 1).expect("made");
        let mut producer = world.producer().await;
        let transaction = producer.begin().await.expect("begins");
        transaction.send(Record::to("other").partition(0).value("x")).await.expect("written");
        transaction.send(record(0, "a")).await.expect("written");
        world.kafka.admin().delete_topic("other").await.expect("deleted");
        world.cluster.create_topic("other", 1).expect("made again");
        for broker in [0, 1, 2] {
            world.cluster.move_leader(TOPIC, 0, broker).expect("moves");
            let _ = transaction.send(record(0, "b")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(matches!(transaction.commit().await, Err(CommitError::Aborted(_))), "version {version}");
        commit(&mut producer, "c").await.expect("it goes on");
        assert_eq!(world.visible().await, ["c0", "c1", "c2"], "version {version}");
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

/// Who asks for an end while the coordinator is asked who fenced it hears of that, not of a transaction that was aborted.
#[tokio::test(start_paused = true)]
async fn a_fenced_producer_is_not_told_that_it_lives() {
    // In the second version nothing but the end asks the coordinator.
    for version in [0, 1] {
        for commit in [true, false] {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            let transaction = producer.begin().await.expect("begins");
            let _newer = world.producer().await;
            let slow = FaultAction::Delay(Duration::from_millis(500));
            let describe = world.cluster.inject(Fault::on(Api::DescribeTransactions, slow));
            transaction.send(record(0, "late")).await.expect_err("its partition is not added any more");
            let ended = if commit {
                transaction.commit().await.map_err(|error| format!("{error:?}"))
            } else {
                transaction.abort().await.map_err(|error| format!("{error:?}"))
            };
            assert_eq!(describe.left(), 0);
            let error = ended.expect_err("fenced");
            assert!(error.starts_with("Fatal"), "version {version}: {error}");
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

/// Every way in that a producer has.
#[tokio::test(start_paused = true)]
async fn all_ways_into_a_transaction_lead_to_its_commit_and_end_with_its_failure() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let transaction = producer.begin().await.expect("begins");
        let back = transaction.try_enqueue(record(0, "early")).expect_err("its topic is not known");
        assert!(matches!(back.reason, NotEnqueued::NotReady), "{back}");
        transaction.prepare(&back.record).await.expect("there is one");
        transaction.try_enqueue(back.record).expect("known now").detach();
        let batch = transaction.enqueue_batch((0..PARTITIONS).map(|partition| record(partition, "many"))).await;
        assert_eq!(batch.expect("enqueued").len(), 3);
        transaction.flush().await.expect("written");
        world.cluster.inject(Fault::error(Api::EndTxn, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
        transaction.commit().await.expect("committed");
        assert_eq!(producer.buffered().records, 0);

        world.cluster.inject(Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
        let transaction = producer.begin().await.expect("begins");
        transaction.enqueue(record(0, "never")).await.expect("enqueued").detach();
        assert!(matches!(transaction.flush().await, Err(TransactionError::Abortable(_))), "version {version}");
        let back = transaction.try_enqueue(record(1, "late")).expect_err("the transaction has failed");
        assert!(matches!(&back.reason, NotEnqueued::Refused(why) if why.kind() == ErrorKind::Aborted), "{back}");
        let back = transaction.enqueue_batch([record(1, "late"), record(2, "later")]).await.expect_err("it has failed");
        assert_eq!((back.error.kind(), back.into_records().count()), (ErrorKind::Aborted, 2));
        assert!(matches!(transaction.commit().await, Err(CommitError::Aborted(_))));
        assert_eq!(world.visible().await, ["early", "many", "many", "many"], "version {version}");
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
