//! The producer's futures, dropped.

use std::time::Duration;

use milena::{
    ErrorCode, ErrorKind, Record,
    admin::OffsetSpec,
    embedded::{Api, Fault, FaultAction},
    producer::{Absent, Given, Producer, ProducerBuilder},
};

use super::{Cut, PATIENCE, TOPIC, World, at_every_poll};

pub(super) const MEMORY: usize = 100_000;

impl World {
    pub(super) async fn producer(&self, adjust: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
        let builder = self.kafka.producer().buffer_memory(MEMORY).linger(Duration::ZERO);
        adjust(builder).build().await.expect("a producer")
    }

    /// Flushes, then checks that the log has so many records and that no memory is held.
    async fn settled(&self, producer: &Producer, records: usize, cut: Cut) {
        producer.flush().await.expect("nothing fails here");
        let ends = self.kafka.admin().offsets(TOPIC, OffsetSpec::Latest).await.expect("offsets");
        assert_eq!(ends, [Some(records as i64)], "{cut}");
        assert_eq!(producer.available_memory(), MEMORY, "{cut}");
    }
}

pub(super) fn record(value: &str) -> Record<'_, Absent, Given<&str>> {
    Record::to(TOPIC).value(value)
}

#[test]
fn p9_a_dropped_send_is_delivered_once_or_was_never_enqueued() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let ack = cut.of(producer.send(record("x"))).await;
        let enqueued = producer.available_memory() < MEMORY || producer.metrics().records_acked > 0;
        world.settled(&producer, usize::from(enqueued), cut).await;
        ack.map(|ack| assert_eq!(ack.expect("sent").offset, Some(0))).is_some()
    });
}

#[test]
fn a_dropped_enqueue_enqueued_nothing() {
    at_every_poll(async |world, cut| {
        // Small batches: every few records one is sealed, and the next call yields to the sender.
        let producer = world.producer(|builder| builder.batch_size(200)).await;
        producer.send(record("the topic is known")).await.expect("sent");
        let mut deliveries = Vec::new();
        for number in 0..30 {
            let value = format!("{number:040}");
            deliveries.extend(cut.of(producer.enqueue(record(&value))).await);
        }
        let (enqueued, all) = (deliveries.len() + 1, deliveries.len() == 30);
        for delivery in deliveries {
            delivery.expect("enqueued").await.expect("delivered");
        }
        world.settled(&producer, enqueued, cut).await;
        all
    });
}

#[test]
fn a_dropped_enqueue_that_waited_for_metadata_enqueued_nothing() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let delivery = cut.of(producer.enqueue(record("x"))).await;
        world.settled(&producer, usize::from(delivery.is_some()), cut).await;
        delivery.is_some()
    });
}

#[test]
fn a_dropped_enqueue_that_waited_for_memory_holds_none() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let value = "x".repeat(MEMORY / 2 - 1_000);
        let mut deliveries = Vec::new();
        for _ in 0..2 {
            deliveries.push(producer.enqueue(record(&value)).await.expect("there is room for two"));
        }
        let third = cut.of(producer.enqueue(record(&value))).await;
        let enough = third.is_some();
        deliveries.extend(third.map(|third| third.expect("enqueued")));
        world.settled(&producer, deliveries.len(), cut).await;
        enough
    });
}

#[test]
fn p9_a_dropped_delivery_takes_nothing_back() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let delivery = producer.enqueue(record("x")).await.expect("enqueued");
        let ack = cut.of(delivery).await;
        world.settled(&producer, 1, cut).await;
        ack.is_some()
    });
}

#[test]
fn a_dropped_flush_stops_no_sending() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder.linger(PATIENCE * 2).batch_size(200)).await;
        for number in 0..20 {
            let value = format!("{number:040}");
            drop(producer.enqueue(record(&value)).await.expect("enqueued"));
        }
        let flushed = cut.of(producer.flush()).await;
        flushed.iter().for_each(|flushed| assert!(flushed.is_ok()));
        world.settled(&producer, 20, cut).await;
        flushed.is_some()
    });
}

#[test]
fn p12_a_dropped_close_closes_and_stops_no_sending() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder.linger(PATIENCE * 2)).await;
        let delivery = producer.enqueue(record("x")).await.expect("enqueued");
        let closed = cut.of(producer.clone().close()).await;
        if cut.polls > 0 {
            let refused = producer.enqueue(record("y")).await.expect_err("it is closed");
            assert_eq!(refused.kind(), ErrorKind::Closed);
            delivery.await.expect("delivered without waiting for the linger");
        }
        world.settled(&producer, 1, cut).await;
        closed.is_some()
    });
}

#[test]
fn p12_a_dropped_close_with_a_deadline_keeps_the_deadline() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        producer.send(record("the topic is known")).await.expect("sent");
        world.cluster.clear_faults();
        world.cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(PATIENCE * 2)));
        let delivery = producer.enqueue(record("x")).await.expect("enqueued");
        let closed = cut.of(producer.clone().close_with(Duration::from_secs(1))).await;
        if cut.polls > 0 {
            let failed = tokio::time::timeout(Duration::from_secs(2), delivery).await.expect("settled in time");
            assert_eq!(failed.expect_err("no answer came").kind(), ErrorKind::Closed, "{cut}");
            assert_eq!(producer.available_memory(), MEMORY, "{cut}");
        }
        closed.is_some()
    });
}

#[test]
fn a_dropped_prepare_can_be_asked_again() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let prepared = cut.of(producer.prepare(&record("x"))).await;
        let attempt = producer.try_enqueue(record("x"));
        assert!(prepared.is_none() || attempt.is_ok(), "{cut}");
        producer.prepare(&record("x")).await.expect("there is such a topic");
        world.settled(&producer, usize::from(attempt.is_ok()), cut).await;
        prepared.is_some()
    });
}

#[test]
fn a_dropped_batch_enqueued_what_it_took_but_the_last() {
    at_every_poll(async |world, cut| {
        // More than the buffer holds, so that it waits for memory in between.
        let producer = world.producer(|builder| builder.batch_size(20_000)).await;
        let value = "x".repeat(5_000);
        let mut records = (0..40).map(|_| record(&value));
        let taken = cut.of(producer.enqueue_batch(&mut records)).await.map(|taken| taken.expect("taken"));
        let expected = match &taken {
            Some(taken) => taken.len(),
            None => 40usize.saturating_sub(records.len() + usize::from(cut.polls > 0)),
        };
        let settled = match taken {
            Some(taken) => cut.of(taken.settled()).await,
            None => None,
        };
        world.settled(&producer, expected, cut).await;
        settled.map(|settled| settled.expect("written")).is_some()
    });
}

#[test]
fn a_dropped_build_starts_nothing() {
    at_every_poll(async |world, cut| {
        let built = cut.of(world.kafka.producer().buffer_memory(MEMORY).linger(Duration::ZERO).build()).await;
        let is_enough = built.is_some();
        drop(built.map(|built| built.expect("the settings are sound")));
        let producer = world.producer(|builder| builder).await;
        producer.send(record("x")).await.expect("sent");
        world.settled(&producer, 1, cut).await;
        is_enough
    });
}

/// Whoever waits behind a dropped future for the same memory gets it.
#[test]
fn a_dropped_enqueue_holds_up_nobody_behind_it() {
    at_every_poll(async |world, cut| {
        let producer = world.producer(|builder| builder).await;
        let large = "x".repeat(MEMORY / 2 - 1_000);
        for _ in 0..2 {
            producer.enqueue(record(&large)).await.expect("there is room for two").detach();
        }
        let mut waiting = Box::pin(cut.of(producer.enqueue(record(&large))));
        let (first, second) = tokio::join!(&mut waiting, producer.enqueue(record(&large)));
        drop(waiting);
        let is_enough = first.is_some();
        let enqueued = 3 + usize::from(is_enough);
        drop(first.map(|first| first.expect("enqueued")));
        second.expect("enqueued").await.expect("delivered");
        world.settled(&producer, enqueued, cut).await;
        is_enough
    });
}

/// A batch that the broker calls too large becomes several while somebody waits for one of its records.
#[test]
fn p16_a_dropped_delivery_of_a_batch_that_is_split_takes_nothing_back() {
    at_every_poll(async |world, cut| {
        let too_large = FaultAction::Error(ErrorCode::MESSAGE_TOO_LARGE.0);
        let producer = world.producer(|builder| builder.linger(Duration::from_millis(1))).await;
        producer.send(record("the topic is known")).await.expect("sent");
        world.cluster.inject(Fault::on(Api::Produce, too_large).times(1));
        let mut deliveries = Vec::new();
        for number in 0..10 {
            deliveries.push(producer.enqueue(record(&format!("{number:040}"))).await.expect("enqueued"));
        }
        let last = deliveries.pop().expect("ten");
        let ack = cut.of(last).await;
        for (delivery, offset) in deliveries.into_iter().zip(1..) {
            assert_eq!(delivery.await.expect("delivered").offset, Some(offset), "{cut}");
        }
        world.settled(&producer, 11, cut).await;
        ack.is_some()
    });
}
