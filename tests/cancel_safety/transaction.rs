//! The futures of transactions, dropped, in both versions of transactions.

use std::time::Duration;

use milena::{
    ErrorKind, TopicPartition,
    consumer::{IsolationLevel, StartFrom},
    embedded::{Api, Fault, FaultAction, When},
    producer::{Outcome, TransactionalProducer},
    types::ConsumerGroupMetadata,
};

use super::{
    Cut, TOPIC, World, at_every_poll_of,
    producer::{MEMORY, record},
};

const GROUP: &str = "g";

impl World {
    async fn transactional(&self) -> TransactionalProducer {
        let builder = self.kafka.producer().buffer_memory(MEMORY);
        builder.transactional("id").await.expect("a producer")
    }

    /// What a reader of committed records sees.
    async fn visible(&self) -> Vec<String> {
        let builder = self.kafka.consumer().isolation(IsolationLevel::ReadCommitted);
        let beginning = (TopicPartition::new(TOPIC, 0), StartFrom::Beginning);
        let mut consumer = builder.assign([beginning]).await.expect("assigned");
        let (ends, mut found) = (consumer.ends().await.expect("ends"), Vec::new());
        while let Some(batch) = consumer.poll_to(&ends).await.expect("a batch") {
            found.extend(
                batch.iter().map(|record| String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned()),
            );
        }
        found
    }

    /// One more transaction works, and then what was committed is there, and no memory is held.
    async fn goes_on(&self, mut producer: TransactionalProducer, expected: &[&str], cut: Cut) {
        let next = producer.begin().await.expect("it goes on");
        next.enqueue(record("next")).await.expect("enqueued").detach();
        next.commit().await.expect("committed");
        assert_eq!(self.visible().await, [expected, &["next"]].concat(), "{cut}");
        assert_eq!(producer.available_memory(), MEMORY, "{cut}");
        producer.close().await.expect("closed");
    }
}

fn at_every_poll(story: impl AsyncFn(&World, Cut) -> bool) {
    for version in [1, 2] {
        at_every_poll_of(|builder| builder.feature("transaction.version", version), &story);
    }
}

#[test]
fn a_dropped_start_of_a_transactional_producer_can_be_made_again() {
    at_every_poll(async |world, cut| {
        let started = cut.of(world.kafka.producer().transactional("id")).await;
        let is_enough = started.is_some();
        drop(started.map(|started| started.expect("a producer")));
        let producer = world.transactional().await;
        world.goes_on(producer, &[], cut).await;
        is_enough
    });
}

/// A transaction that was dropped is being aborted, which `begin` waits for.
#[test]
fn a_dropped_begin_leaves_no_transaction_open() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let first = producer.begin().await.expect("begun");
        first.send(record("dropped")).await.expect("written");
        drop(first);
        let is_ready = cut.of(producer.ready()).await.is_some();
        let is_enough = cut.of(producer.begin()).await.is_some() && is_ready;
        world.goes_on(producer, &[], cut).await;
        is_enough
    });
}

#[test]
fn p9_a_dropped_send_in_a_transaction_is_in_it_once_or_not_at_all() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let transaction = producer.begin().await.expect("begun");
        let sent = cut.of(transaction.send(record("x"))).await;
        let enqueued = cut.of(transaction.enqueue(record("y"))).await;
        transaction.commit().await.expect("committed");
        let is_enough = sent.is_some() && enqueued.is_some();
        let visible = world.visible().await;
        let is_there = |value: &str| visible.iter().filter(|found| *found == value).count();
        assert!(is_there("x") <= 1 && (sent.is_none() || is_there("x") == 1), "{cut}: {visible:?}");
        assert_eq!(is_there("y"), usize::from(enqueued.is_some()), "{cut}: {visible:?}");
        let expected: Vec<&str> = visible.iter().map(String::as_str).collect();
        world.goes_on(producer, &expected, cut).await;
        is_enough
    });
}

#[test]
fn a_dropped_batch_of_a_transaction_is_in_it_as_far_as_it_was_taken() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let prepared = cut.of(producer.prepare(&record("x"))).await.is_some();
        let transaction = producer.begin().await.expect("begun");
        let prepared = cut.of(transaction.prepare(&record("x"))).await.is_some() && prepared;
        let values: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
        let mut records = values.iter().map(|value| record(value));
        let taken = cut.of(transaction.enqueue_batch(&mut records)).await.map(|taken| taken.expect("taken"));
        // The record that it waited with is not in it.
        let expected = values.len() - records.len() - usize::from(taken.is_none() && cut.polls > 0);
        let flushed = cut.of(transaction.flush()).await;
        transaction.commit().await.expect("committed");
        let expected: Vec<&str> = values.iter().take(expected).map(String::as_str).collect();
        world.goes_on(producer, &expected, cut).await;
        prepared && taken.is_some() && flushed.map(|flushed| flushed.expect("written")).is_some()
    });
}

#[test]
fn dropped_offsets_are_committed_with_their_transaction_or_never() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let (group, offsets) = (ConsumerGroupMetadata::new(GROUP), |at| [(TopicPartition::new(TOPIC, 0), at)]);
        let aborted = producer.begin().await.expect("begun");
        let sent = cut.of(aborted.send_offsets(&group, offsets(7))).await;
        let is_enough = sent.is_some();
        aborted.abort().await.expect("aborted");
        assert_eq!(world.cluster.committed_offset(GROUP, TOPIC, 0), None, "{cut}");
        let committed = producer.begin().await.expect("begun");
        let _ = cut.of(committed.send_offsets(&group, offsets(1))).await;
        committed.send_offsets(&group, offsets(2)).await.expect("sent again");
        committed.commit().await.expect("committed");
        assert_eq!(world.cluster.committed_offset(GROUP, TOPIC, 0), Some(2), "{cut}");
        world.goes_on(producer, &[], cut).await;
        is_enough
    });
}

/// Whoever did not wait for a commit is told what became of it.
#[test]
fn t4_a_dropped_commit_goes_on_and_its_outcome_is_told() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let transaction = producer.begin().await.expect("begun");
        transaction.enqueue(record("x")).await.expect("enqueued").detach();
        let committed = cut.of(transaction.commit()).await;
        // As many polls for the question as for the commit: it is dropped as well, and asked again.
        let asked = cut.of(producer.outcome()).await.is_some();
        let outcome = producer.outcome().await.expect("it is known");
        let is_decided = cut.polls > 0;
        assert_eq!(outcome, Some(if is_decided { Outcome::Committed } else { Outcome::Aborted }), "{cut}");
        let expected: &[&str] = if is_decided { &["x"] } else { &[] };
        world.goes_on(producer, expected, cut).await;
        committed.map(|committed| committed.expect("committed")).is_some() && asked
    });
}

#[test]
fn a_dropped_abort_aborts() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let transaction = producer.begin().await.expect("begun");
        transaction.send(record("x")).await.expect("written");
        let aborted = cut.of(transaction.abort()).await;
        world.goes_on(producer, &[], cut).await;
        aborted.map(|aborted| aborted.expect("aborted")).is_some()
    });
}

#[test]
fn a_dropped_close_of_a_transactional_producer_ends_what_is_under_way() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let transaction = producer.begin().await.expect("begun");
        transaction.send(record("x")).await.expect("written");
        drop(transaction);
        let closed = cut.of(producer.close()).await;
        let again = world.transactional().await;
        world.goes_on(again, &[], cut).await;
        closed.map(|closed| closed.expect("closed")).is_some()
    });
}

#[test]
fn p12_a_dropped_close_with_of_a_transactional_producer_keeps_the_deadline() {
    at_every_poll(async |world, cut| {
        let mut producer = world.transactional().await;
        let transaction = producer.begin().await.expect("begun");
        transaction.send(record("x")).await.expect("written");
        drop(transaction);
        world.cluster.inject(Fault::on(Api::EndTxn, FaultAction::Silence(When::BeforeApplying)).times(1_000));
        let closed = cut.of(producer.close_with(Duration::from_secs(1))).await;
        world.cluster.clear_faults();
        // Closed or dropped, it is gone in time: what it had left open is ended by the next one, which waits for nothing
        // but the connection that fell silent.
        let again = world.transactional().await;
        world.goes_on(again, &[], cut).await;
        if let Some(closed) = &closed {
            let left = closed.as_ref().expect_err("the abort is not answered");
            assert_eq!(left.kind(), ErrorKind::Timeout, "{left}");
        }
        closed.is_some()
    });
}
