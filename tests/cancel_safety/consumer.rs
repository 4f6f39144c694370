//! The consumer's futures, dropped.

use std::time::Duration;

use milena::{
    Consumer, TopicPartition,
    consumer::{Batch, StartFrom},
};

use super::{Cut, OTHER, TOPIC, World, at_every_poll};

const RECORDS: i64 = 40;

impl World {
    async fn filled(&self) {
        let producer = self.producer(|builder| builder.batch_size(200)).await;
        for number in 0..RECORDS {
            let value = format!("{number:040}");
            producer.enqueue(milena::Record::to(TOPIC).value(&value)).await.expect("enqueued").detach();
        }
        producer.close().await.expect("closed");
    }

    async fn consumer(&self) -> Consumer {
        self.kafka.consumer().assign([beginning(TOPIC, 0)]).await.expect("assigned")
    }
}

fn beginning(topic: &str, partition: i32) -> (TopicPartition, StartFrom) {
    (TopicPartition::new(topic, partition), StartFrom::Beginning)
}

/// Reads all there is, dropping a future before each batch. Returns whether none was too early.
async fn reads_all(
    consumer: &mut Consumer,
    cut: Cut,
    mut poll: impl AsyncFnMut(&mut Consumer) -> Option<milena::Result<Option<Batch>>>,
) -> bool {
    let (mut next, mut dropped) = (0, 0);
    while next < RECORDS {
        let batch = match poll(consumer).await {
            Some(batch) => batch,
            None => {
                dropped += 1;
                consumer.poll().await
            }
        };
        for record in &batch.expect("no error").expect("a batch") {
            assert_eq!(record.offset(), next, "{cut}");
            next += 1;
        }
    }
    dropped == 0
}

#[test]
fn a_dropped_poll_loses_and_doubles_nothing() {
    const LONG: Duration = Duration::from_secs(60);
    at_every_poll(async |world, cut| {
        world.filled().await;
        let mut by_poll = world.consumer().await;
        let mut enough = reads_all(&mut by_poll, cut, async |consumer| cut.of(consumer.poll()).await).await;
        let mut by_time = world.consumer().await;
        enough &= reads_all(&mut by_time, cut, async |consumer| cut.of(consumer.poll_for(LONG)).await).await;
        let mut to_end = world.consumer().await;
        let ends = to_end.ends().await.expect("ends");
        enough & reads_all(&mut to_end, cut, async |consumer| cut.of(consumer.poll_to(&ends)).await).await
    });
}

#[test]
fn a_dropped_question_for_the_ends_can_be_asked_again() {
    at_every_poll(async |world, cut| {
        world.filled().await;
        let mut consumer = world.consumer().await;
        let ends = cut.of(consumer.ends()).await;
        let again = consumer.ends().await.expect("ends");
        let mut read = 0;
        while let Some(batch) = consumer.poll_to(&again).await.expect("a batch") {
            read += batch.len() as i64;
        }
        assert_eq!(read, RECORDS, "{cut}");
        ends.is_some()
    });
}

#[test]
fn a_dropped_start_of_a_consumer_starts_nothing() {
    at_every_poll(async |world, cut| {
        world.filled().await;
        let started = cut.of(world.kafka.consumer().assign([beginning(TOPIC, 0)])).await;
        let is_enough = started.is_some();
        drop(started);
        let mut again = world.consumer().await;
        reads_all(&mut again, cut, async |consumer| Some(consumer.poll().await)).await;
        is_enough
    });
}

#[test]
fn a_dropped_assign_leaves_the_assignment_as_it_was() {
    at_every_poll(async |world, cut| {
        world.filled().await;
        let mut consumer = world.consumer().await;
        let assigned = cut.of(consumer.assign([beginning(TOPIC, 0), beginning(OTHER, 1)])).await;
        let is_enough = assigned.is_some();
        let expected = if is_enough { 2 } else { 1 };
        assert_eq!(consumer.assignment().len(), expected, "{cut}");
        consumer.assign([beginning(TOPIC, 0), beginning(OTHER, 2)]).await.expect("assigned");
        reads_all(&mut consumer, cut, async |consumer| Some(consumer.poll().await)).await;
        is_enough
    });
}

#[test]
fn a_dropped_close_of_a_consumer_closes_it() {
    at_every_poll(async |world, cut| {
        world.filled().await;
        let mut consumer = world.consumer().await;
        consumer.poll().await.expect("a batch");
        let closed = cut.of(consumer.close()).await;
        if cut.polls > 0 {
            assert!(consumer.poll().await.expect("no error").is_none(), "it is closed: {cut}");
            consumer.close().await.expect("once more");
        }
        closed.is_some()
    });
}
