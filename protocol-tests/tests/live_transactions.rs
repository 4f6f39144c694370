//! Transactions against a real broker, by every level of `transaction.version` that it can be set to.
//!
//! The level is the cluster's, so the tests take turns and leave it as it was.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use milena::{
    ConsumerGroupMetadata, ErrorCode, Kafka, Record, Result, TopicPartition, TransactionalProducer,
    admin::NewTopic,
    consumer::{IsolationLevel, StartFrom},
    producer::{CommitError, FencedBy, Outcome, TransactionError},
    wire::messages::{
        DescribeTransactionsRequest, FeatureUpdateKey, OffsetFetchRequest, OffsetFetchRequestGroup,
        OffsetFetchRequestTopics, UpdateFeaturesRequest,
    },
};
use protocol_tests::{Live, PATIENCE, live, unique};
use tokio::time::sleep;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const PARTITIONS: i32 = 3;
const LEVELS: [i16; 3] = [0, 1, 2];

fn run(test: &'static str, body: impl AsyncFn(&Live, &Kafka, i16) -> Result<()>) {
    let Some(live) = live(test) else { return };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for level in LEVELS {
            let kafka = Kafka::connect(&live.bootstrap).await.expect("it is there");
            set_level(&kafka, level).await.expect("the level is set");
            let outcome = tokio::time::timeout(PATIENCE, body(&live, &kafka, level)).await;
            set_level(&kafka, 2).await.expect("the level is reset");
            outcome.expect("in time").unwrap_or_else(|error| panic!("transaction.version {level}: {error}"));
        }
    });
}

/// Finalizes `transaction.version`, and waits until the broker has heard of it.
async fn set_level(kafka: &Kafka, level: i16) -> Result<()> {
    let before = kafka.versions(1).await?.features().transaction_version();
    if before != level {
        let update = FeatureUpdateKey {
            feature: "transaction.version".into(),
            max_version_level: level,
            upgrade_type: if level < before { 2 } else { 1 },
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { timeout_ms: 10_000, feature_updates: vec![update], ..Default::default() };
        let answer = kafka.request(request).controller().await?;
        assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        while kafka.versions(1).await?.features().transaction_version() != level {
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn topic(kafka: &Kafka) -> Result<String> {
    let topic = unique("live-transactions");
    kafka.admin().create_topic(NewTopic::new(&topic, PARTITIONS, 1)).await?;
    Ok(topic)
}

/// What a consumer of committed records sees, sorted.
async fn visible(kafka: &Kafka, topic: &str) -> Result<Vec<String>> {
    let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), StartFrom::Beginning));
    let mut consumer = kafka.consumer().isolation(IsolationLevel::ReadCommitted).assign(wanted).await?;
    let mut values = BTreeMap::new();
    while let Some(batch) = consumer.poll_for(Duration::from_secs(2)).await? {
        for record in &batch {
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            values.insert((batch.partition(), record.offset()), value);
        }
    }
    consumer.close().await?;
    let mut values: Vec<String> = values.into_values().collect();
    values.sort();
    Ok(values)
}

async fn commit(producer: &mut TransactionalProducer, topic: &str, name: &str) -> Result<(), CommitError> {
    let transaction = producer.begin().await.expect("begins");
    for partition in 0..PARTITIONS {
        let value = format!("{name}{partition}");
        transaction.enqueue(Record::to(topic).partition(partition).value(&value)).await.expect("enqueued").detach();
    }
    transaction.commit().await
}

async fn committed_offset(kafka: &Kafka, group: &str, topic: &str) -> Result<i64> {
    let topics =
        vec![OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() }];
    let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() }];
    let request = OffsetFetchRequest { groups, require_stable: true, ..Default::default() };
    loop {
        let answer = kafka.request(request.clone()).at_most(9).coordinator_of_group(group).await?;
        let part = &answer.groups[0].topics[0].partitions[0];
        if part.error_code == ErrorCode::NONE {
            return Ok(part.committed_offset);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn t1_committed_is_visible_and_aborted_is_not_by_every_version_of_transactions() {
    run("t1_committed_is_visible_and_aborted_is_not_by_every_version_of_transactions", async |_, kafka, level| {
        let (topic, group, id) = (topic(kafka).await?, unique("group"), unique("id"));
        let mut producer = kafka.producer().transactional(&*id).await?;
        assert_eq!(kafka.features().transaction_version(), level);
        for round in 0..5 {
            commit(&mut producer, &topic, &format!("kept{round}-")).await?;
            let transaction = producer.begin().await?;
            transaction.send(Record::to(&topic).partition(0).value("aborted")).await?;
            transaction.enqueue(Record::to(&topic).partition(1).value("aborted")).await?.detach();
            match round % 2 {
                0 => transaction.abort().await?,
                _ => drop(transaction),
            }
        }
        let metadata = ConsumerGroupMetadata::new(&*group);
        for (offset, keep) in [(4, true), (9, false)] {
            let transaction = producer.begin().await?;
            transaction.send_offsets(&metadata, [(TopicPartition::new(&*topic, 0), offset)]).await?;
            if keep {
                transaction.commit().await?;
            } else {
                transaction.abort().await?;
            }
            assert_eq!(committed_offset(kafka, &group, &topic).await?, 4);
        }
        // T6: in the name of a member that is not there.
        let zombie = metadata.clone().member(7, "zombie");
        let transaction = producer.begin().await?;
        let refused = transaction.send_offsets(&zombie, [(TopicPartition::new(&*topic, 0), 11)]).await;
        assert!(matches!(refused, Err(TransactionError::Abortable(_))), "{refused:?}");
        assert!(matches!(transaction.commit().await, Err(CommitError::Aborted(_))));
        commit(&mut producer, &topic, "last").await?;
        producer.close().await?;
        let mut expected: Vec<String> =
            (0..5).flat_map(|round| (0..PARTITIONS).map(move |at| format!("kept{round}-{at}"))).collect();
        expected.extend((0..PARTITIONS).map(|at| format!("last{at}")));
        assert_eq!(visible(kafka, &topic).await?, expected);
        assert_eq!(committed_offset(kafka, &group, &topic).await?, 4);
        Ok(())
    });
}

/// A topic of earlier transactions is made again while another transaction is open, and then takes part: in the first
/// version under the epoch of those before, so that its numbers go on in a log that has none.
#[test]
fn kip_516_a_topic_made_again_does_not_abort_a_transaction_that_had_nothing_in_it() {
    run("kip_516_a_topic_made_again_does_not_abort_a_transaction_that_had_nothing_in_it", async |_, kafka, _| {
        let (used, other) = (topic(kafka).await?, topic(kafka).await?);
        let mut producer = kafka.producer().transactional(&*unique("id")).await?;
        for round in 0..3 {
            commit(&mut producer, &other, &format!("{round}-")).await?;
        }
        let transaction = producer.begin().await?;
        transaction.send(Record::to(&used).partition(0).value("before")).await?;
        kafka.admin().delete_topic(&other).await?;
        while kafka.admin().create_topic(NewTopic::new(&other, PARTITIONS, 1)).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        // The client hears of the new id.
        kafka.admin().topic(&other).await?;
        sleep(Duration::from_millis(500)).await;
        for value in ["first", "second"] {
            transaction.send(Record::to(&other).partition(0).value(value)).await?;
        }
        transaction.commit().await?;
        commit(&mut producer, &other, "third").await?;
        producer.close().await?;
        assert_eq!(visible(kafka, &used).await?, ["before"]);
        assert_eq!(visible(kafka, &other).await?, ["first", "second", "third0", "third1", "third2"]);
        Ok(())
    });
}

/// What `machine::txn::judge` takes for granted about epochs, and that fencing is told as what it was.
#[test]
fn fenced_says_by_whom() {
    run("fenced_says_by_whom", async |_, kafka, level| {
        let topic = topic(kafka).await?;
        for timed_out in [false, true] {
            let id = unique("id");
            let builder = || kafka.producer().transaction_timeout(Duration::from_millis(500));
            let mut producer = builder().transactional(&*id).await?;
            let transaction = producer.begin().await?;
            transaction.send(Record::to(&topic).partition(0).value("late")).await?;
            let before = describe(kafka, &id).await?;
            let mut newer = None;
            if timed_out {
                // Brokers look every ten seconds.
                while describe(kafka, &id).await?.1 != "CompleteAbort" {
                    sleep(Duration::from_millis(100)).await;
                }
                let ahead = describe(kafka, &id).await?.0 - before.0;
                assert_eq!(ahead, 1, "transaction.version {level}");
            } else {
                newer = Some(builder().transactional(&*id).await?);
                let ahead = describe(kafka, &id).await?.0 - before.0;
                assert_eq!(ahead, 2, "transaction.version {level}");
            }
            let error = transaction.commit().await.expect_err("fenced");
            if timed_out && level == 2 {
                // The coordinator lets a producer of the second version go on.
                assert!(matches!(error, CommitError::Aborted(_)), "{error}");
                commit(&mut producer, &topic, "next").await.expect("KIP-588: the producer lives");
                continue;
            }
            let CommitError::Fatal(why) = error else { panic!("{error}") };
            let by_timeout = why.fenced_by() == Some(FencedBy::TransactionTimeout);
            assert_eq!(by_timeout, timed_out, "transaction.version {level}: {why}");
            assert_eq!(why.outcome(), Some(Outcome::Aborted));
            drop(newer);
        }
        let next = visible(kafka, &topic).await?;
        assert_eq!(next.len(), if level == 2 { PARTITIONS as usize } else { 0 }, "{next:?}");
        Ok(())
    });
}

async fn describe(kafka: &Kafka, id: &str) -> Result<(i16, String)> {
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
    let answer = kafka.request(request).coordinator_of_transaction(id).await?;
    let state = &answer.transaction_states[0];
    Ok((state.producer_epoch, state.transaction_state.to_string()))
}

/// The broker is killed and comes back while the commit is under way.
#[test]
fn t4_a_commit_survives_its_broker() {
    run("t4_a_commit_survives_its_broker", async |live, kafka, level| {
        let topic = topic(kafka).await?;
        let mut producer = kafka.producer().transactional(unique("id")).await?;
        commit(&mut producer, &topic, "a").await?;
        let transaction = producer.begin().await?;
        for partition in 0..PARTITIONS {
            transaction.send(Record::to(&topic).partition(partition).value("b")).await?;
        }
        let control = |command: &'static str| {
            let live = live.clone();
            tokio::task::spawn_blocking(move || live.control(&[command]))
        };
        let (committed, ()) = tokio::join!(transaction.commit(), async {
            control("kill").await.expect("killed");
            control("start").await.expect("started");
        });
        committed?;
        commit(&mut producer, &topic, "c").await?;
        let expected = ["a0", "a1", "a2", "b", "b", "b", "c0", "c1", "c2"];
        assert_eq!(visible(kafka, &topic).await?, expected, "transaction.version {level}");
        Ok(())
    });
}
