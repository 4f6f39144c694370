//! What callers see of a producer besides `send` and `enqueue`: attempts, many records at once, ends in time.
//!
//! Client and cluster run in one thread on an in-process network, on a paused clock.

use std::{collections::BTreeMap, time::Duration};

use milena::{
    ErrorKind, Record,
    admin::OffsetSpec,
    embedded::{Api, Fault, FaultAction, Way},
    producer::{Given, NotEnqueued, Producer, ProducerBuilder},
};
use tokio::time::{Instant, sleep};

mod common;

use common::{BROKER, TOPIC, World};

const MEMORY: usize = 128 << 10;
const HOUR: Duration = Duration::from_secs(3600);

impl World {
    async fn producer(&self, adjust: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
        let builder = self.kafka.producer().buffer_memory(MEMORY).batch_size(30 << 10);
        let producer = adjust(builder).build().await.expect("a producer");
        producer.prepare(&Record::to(TOPIC)).await.expect("the topic is known");
        producer
    }

    async fn log_length(&self, topic: &str) -> i64 {
        let ends = self.kafka.admin().offsets(topic, OffsetSpec::Latest).await.expect("offsets");
        ends.into_iter().flatten().sum()
    }
}

type Numbered<'r> = Record<'r, milena::producer::Absent, Given<String>>;

/// A record of about a kilobyte.
fn numbered(number: usize) -> Numbered<'static> {
    Record::to(TOPIC).value(format!("{number:01000}"))
}

/// Attempts until one fails: how many did not, and what came back.
fn fill(producer: &Producer) -> (usize, Numbered<'static>) {
    for number in 0.. {
        match producer.try_enqueue(numbered(number)) {
            Ok(delivery) => delivery.detach(),
            Err(back) => {
                assert!(matches!(back.reason, NotEnqueued::Full), "{back}");
                return (number, back.record);
            }
        }
    }
    unreachable!("a buffer has an end")
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_hands_the_record_back_and_takes_it_later() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    world.network.stall(BROKER, Way::Both);
    let (taken, back) = fill(&producer);
    assert!((100..=MEMORY / 1000).contains(&taken), "{taken} records fill {MEMORY} bytes");
    assert_eq!(producer.buffered().records, taken);
    sleep(Duration::from_secs(5)).await;
    let back = producer.try_enqueue(back).expect_err("no broker has answered").record;
    world.network.heal();
    sleep(Duration::from_secs(5)).await;
    let ack = producer.try_enqueue(back).expect("there is room").await.expect("written");
    assert_eq!(ack.offset, Some(taken as i64), "behind all that came before");
    producer.close().await.expect("nothing failed");
}

#[tokio::test(start_paused = true)]
async fn p13_a_full_buffer_does_not_wait_for_its_linger() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.linger(HOUR).batch_size(MEMORY)).await;
    let (taken, back) = fill(&producer);
    sleep(Duration::from_secs(1)).await;
    producer.try_enqueue(back).expect("what was open went out").detach();
    assert_eq!(world.log_length(TOPIC).await, taken as i64);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_known_is_asked_for_and_known_later() {
    let world = World::new().await;
    let producer = world.kafka.producer().max_block(Duration::from_secs(3)).build().await.expect("builds");
    let count = || world.cluster.requests(Api::Metadata).values().sum::<u64>();
    let before = count();
    for (topic, exists) in [("u", true), ("v", false)] {
        let attempt = || producer.try_enqueue(Record::to(topic).value("x")).map_err(|back| back.reason);
        for _ in 0..1000 {
            assert!(matches!(attempt(), Err(NotEnqueued::NotReady)), "{topic}: nothing is known yet");
        }
        sleep(Duration::from_secs(5)).await;
        match attempt() {
            Ok(delivery) if exists => assert_eq!(delivery.await.expect("written").offset, Some(0)),
            Err(NotEnqueued::Refused(error)) if !exists => assert_eq!(error.kind(), ErrorKind::UnknownTopic),
            other => panic!("{topic}: {other:?}"),
        }
    }
    assert!(
        matches!(producer.try_enqueue(Record::to("v")).expect_err("no").reason, NotEnqueued::NotReady),
        "asks anew"
    );
    let asked = count() - before;
    assert!(asked < 60, "2,000 attempts asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn what_no_attempt_can_mend_is_refused_by_name() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.max_request_size(MEMORY * 2)).await;
    let refused = |record: Numbered<'static>| match producer.try_enqueue(record).expect_err("refused").reason {
        NotEnqueued::Refused(error) => error,
        other => panic!("{other:?}"),
    };
    let long = |length| Record::to(TOPIC).value("x".repeat(length));
    assert_eq!(refused(long(MEMORY * 3)).kind(), ErrorKind::RecordTooLarge, "max.request.size");
    assert_eq!(refused(long(MEMORY + 1)).kind(), ErrorKind::RecordTooLarge, "buffer.memory");
    assert_eq!(refused(numbered(1).partition(9)).kind(), ErrorKind::UnknownTopic);
    producer.clone().close().await.expect("nothing failed");
    for topic in [TOPIC, "never heard of"] {
        assert_eq!(refused(Record::to(topic).value(String::new())).kind(), ErrorKind::Closed, "{topic}");
    }
}

/// On real time: a thread outside the runtime knows no other.
#[tokio::test]
async fn an_attempt_needs_no_runtime() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    let attempt = std::thread::spawn(move || producer.try_enqueue(numbered(0)).expect("there is room"));
    let ack = attempt.join().expect("no panic").await.expect("written");
    assert_eq!(ack.offset, Some(0));
}

#[tokio::test(start_paused = true)]
async fn many_records_go_to_many_topics_with_one_call() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    // More than the buffer holds.
    let topic = |number: usize| if number % 10 < 7 { TOPIC } else { "u" };
    let records = (0..1000).map(|number| Record::to(topic(number)).value(format!("{number:01000}")));
    let deliveries = producer.enqueue_batch(records).await.expect("all are taken");
    assert_eq!(deliveries.len(), 1000);
    let mut next = BTreeMap::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let ack = delivery.await.expect("written");
        let offset = next.entry(topic(number)).or_insert(0);
        assert_eq!((&*ack.topic, ack.offset), (topic(number), Some(*offset)), "record {number}");
        *offset += 1;
    }
    assert_eq!((world.log_length(TOPIC).await, world.log_length("u").await), (700, 300));
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_in_the_middle_names_what_was_taken_and_what_was_not() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    let record = |number| numbered(number).partition(if number == 50 { 7 } else { 0 });
    let back = producer.enqueue_batch((0..100).map(record)).await.expect_err("there is no partition 7");
    assert_eq!(back.error.kind(), ErrorKind::UnknownTopic);
    assert_eq!((back.enqueued.len(), back.to_string().starts_with("after 50 records")), (50, true), "{back}");
    let (enqueued, rest) = (back.enqueued, back.rest);
    enqueued.settled().await.expect("they are delivered");
    assert_eq!(world.log_length(TOPIC).await, 50);
    producer.enqueue_batch(rest).await.expect("taken").settled().await.expect("written");
    assert_eq!(world.log_length(TOPIC).await, 99, "all but the one");
}

#[tokio::test(start_paused = true)]
async fn a_long_batch_lets_others_have_memory_in_their_turn() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.linger(Duration::ZERO)).await;
    world.network.stall(BROKER, Way::Both);
    let long = tokio::spawn({
        let producer = producer.clone();
        async move { producer.enqueue_batch((0..5_000).map(numbered)).await }
    });
    sleep(Duration::from_secs(1)).await;
    let short = tokio::spawn(async move { producer.enqueue(numbered(0)).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!short.is_finished(), "the buffer is full");
    world.network.heal();
    let delivery = short.await.expect("no panic").expect("taken");
    let offset = delivery.await.expect("written").offset.expect("an offset");
    assert!(offset < 500, "5,000 records of another caller went first: {offset}");
    assert_eq!(long.await.expect("no panic").expect("taken").len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn p12_a_close_with_a_deadline_settles_everything_in_time() {
    for patience in [Duration::from_secs(2), Duration::ZERO] {
        let world = World::new().await;
        let producer = world.producer(|builder| builder.linger(Duration::ZERO).max_in_flight(1)).await;
        producer.send(numbered(0)).await.expect("written");
        world.network.stall(BROKER, Way::Both);
        let sent = producer.enqueue(numbered(1)).await.expect("taken");
        sleep(Duration::from_millis(100)).await;
        let waiting = producer.enqueue(numbered(2)).await.expect("taken");
        let (begun, other) = (Instant::now(), producer.clone());
        let error = producer.close_with(patience).await.expect_err("nobody has answered");
        assert!((patience..=patience + Duration::from_millis(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::Closed);
        let told = tokio::time::timeout(Duration::ZERO, async { (sent.await, waiting.await) }).await;
        let (sent, waiting) = told.expect("both are settled");
        assert!(sent.expect_err("it may have been").maybe_written(), "it was on the wire");
        assert!(!waiting.expect_err("it was not").maybe_written(), "it was not sent yet");
        assert_eq!((other.buffered().records, other.available_memory()), (0, MEMORY));
        assert_eq!(other.enqueue(numbered(3)).await.expect_err("closed").kind(), ErrorKind::Closed);
        world.network.heal();
        sleep(HOUR).await;
        assert_eq!(world.log_length(TOPIC).await, 2, "what was on the wire arrives, what was not does not");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_with_a_deadline_that_is_not_needed_is_a_close() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.linger(HOUR)).await;
    producer.enqueue_batch((0..500).map(numbered)).await.expect("taken").detach();
    producer.clone().close_with(Duration::MAX).await.expect("all is written");
    producer.close_with(Duration::ZERO).await.expect("there is nothing left");
    assert_eq!(world.log_length(TOPIC).await, 500);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_waiting_for_a_topic() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.enqueue(Record::to("v").value("x")).await }
    });
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    producer.close().await.expect("there is nothing left");
    let error = waiting.await.expect("no panic").expect_err("closed");
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Closed, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_flush_tells_the_failure_that_nobody_heard_of_and_only_once() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.linger(Duration::ZERO)).await;
    let refuse = || world.cluster.inject(Fault::on(Api::Produce, FaultAction::Error(87))); // INVALID_RECORD
    refuse();
    producer.enqueue(numbered(1)).await.expect("taken").detach();
    sleep(Duration::from_secs(1)).await;
    let error = producer.flush().await.expect_err("the first was refused");
    assert_eq!(error.code(), Some(milena::ErrorCode::INVALID_RECORD));
    producer.flush().await.expect("told once");
    refuse();
    producer.send(numbered(2)).await.expect_err("refused, and the caller was told");
    producer.flush().await.expect("told already");
    producer.send(numbered(3)).await.expect("written");
    producer.close().await.expect("nothing is left to tell");
}

#[tokio::test(start_paused = true)]
async fn what_is_buffered_can_be_seen_at_any_time() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.linger(HOUR)).await;
    let sizes = |producer: &Producer| (producer.buffered().records, producer.buffered().bytes.div_ceil(32 << 10));
    assert_eq!(sizes(&producer), (0, 0));
    let first = producer.enqueue(numbered(0)).await.expect("taken");
    assert_eq!(sizes(&producer), (1, 1), "an open batch");
    world.network.stall(BROKER, Way::Both);
    producer.enqueue_batch((1..40).map(numbered)).await.expect("taken").detach();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(producer.buffered().records, 40, "in an open batch, in sealed ones, and on the wire");
    world.network.heal();
    first.await.expect("written");
    producer.flush().await.expect("written");
    assert_eq!(sizes(&producer), (0, 0));
}

/// A client may outlive the runtime in which it was made, in a static for example.
#[test]
fn p12_a_producer_whose_runtime_has_ended_hangs_nobody_and_says_so() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    };
    let (producer, delivery) = runtime().block_on(async {
        let world = World::new().await;
        let producer = world.producer(|builder| builder.linger(HOUR)).await;
        let delivery = producer.enqueue(numbered(0)).await.expect("there is room");
        (producer, delivery)
    });
    runtime().block_on(async {
        let patience = Duration::from_secs(10);
        let told = tokio::time::timeout(patience, delivery).await.expect("it is told").expect_err("nobody sent it");
        assert_eq!(told.kind(), ErrorKind::Closed);
        let refused = producer.enqueue(numbered(1)).await.expect_err("nobody would send it");
        assert_eq!(refused.kind(), ErrorKind::Closed);
        let flushed = tokio::time::timeout(patience, producer.flush()).await.expect("it does not hang");
        assert_eq!(flushed.expect_err("a record is lost").kind(), ErrorKind::Closed);
    });
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_that_is_polled_again_writes_nothing_more() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    let mut enqueue = std::pin::pin!(producer.enqueue(numbered(0)));
    enqueue.as_mut().await.expect("there is room").detach();
    assert!(tokio::time::timeout(Duration::from_secs(1), enqueue).await.is_err(), "a future that is done stays so");
    producer.flush().await.expect("it arrives");
    assert_eq!(world.log_length(TOPIC).await, 1);
}
