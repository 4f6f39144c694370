//! The consumer against the embedded broker: a real socket, real batches, and faults on purpose.
//!
//! A test whose name begins with c and a number keeps a bug away that other clients have had.
#![cfg(feature = "embedded")]

use std::{
    future::{Future, ready},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::{Duration, SystemTime},
};

use milena::{
    Consumer, ErrorKind, Kafka, Record, Result, TopicPartition,
    consumer::{ConsumerBuilder, OffsetReset, StartFrom, Typed},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, When},
    record::Compression,
    serdes::{Bytes, Deserializer, Target, Utf8},
    wire::messages::{CreatePartitionsRequest, CreatePartitionsTopic},
};

const TOPIC: &str = "orders";
/// Far longer than anything takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    cluster: EmbeddedCluster,
    kafka: Kafka,
}

impl World {
    async fn new(brokers: i32, partitions: i32) -> Self {
        let cluster =
            EmbeddedCluster::builder().brokers(brokers).topic(TOPIC, partitions).start().await.expect("a cluster");
        let kafka = Kafka::builder()
            .bootstrap(&cluster.bootstrap())
            .property("request.timeout.ms", "1000")
            .property("retry.backoff.ms", "20")
            .property("reconnect.backoff.ms", "20");
        let kafka = kafka.connect().await.expect("a client");
        Self { cluster, kafka }
    }

    /// `batches` batches of ten records each; the record at offset 42 of partition 3 is `3:42`.
    async fn fill(&self, partition: i32, first: i64, batches: i64, codec: Compression) {
        let producer = self.kafka.producer().compression(codec).linger(PATIENCE).build().await.expect("a producer");
        for offset in first..first + 10 * batches {
            let value = text(partition, offset);
            let record = Record::to(TOPIC).partition(partition).key("key").value(&value).header("h", "v");
            drop(producer.enqueue(record.timestamp(time(offset))).await.expect("enqueued"));
            if offset % 10 == 9 {
                producer.flush().await.expect("written");
            }
        }
        producer.close().await.expect("closed");
    }

    async fn filled(partitions: i32, batches: i64) -> Self {
        let world = Self::new(1, partitions).await;
        for partition in 0..partitions {
            world.fill(partition, 0, batches, Compression::None).await;
        }
        world
    }

    fn consumer(&self) -> ConsumerBuilder {
        self.kafka.consumer().fetch_max_wait(Duration::from_millis(100)).offset_reset(OffsetReset::None)
    }

    async fn reading(&self, partitions: i32, start: StartFrom) -> Consumer {
        self.consumer().assign((0..partitions).map(|partition| (name(partition), start))).await.expect("a consumer")
    }

    fn fail(&self, api: Api, action: FaultAction, times: usize) {
        self.cluster.inject(Fault::on(api, action).times(times));
    }
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

fn text(partition: i32, offset: i64) -> String {
    format!("{partition}:{offset}")
}

fn time(offset: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + offset.unsigned_abs())
}

async fn poll(consumer: &mut Consumer) -> Result<Vec<(i32, i64)>> {
    let batch = tokio::time::timeout(PATIENCE, consumer.poll()).await.expect("poll came back")?.expect("a batch");
    assert!(!batch.is_empty() && batch.iter().count() == batch.len());
    assert_eq!(batch.iter().next().map(|record| record.offset()), Some(batch.base_offset()));
    assert_eq!(batch.iter().last().map(|record| record.offset()), Some(batch.last_offset()));
    let mut seen = Vec::new();
    for record in &batch {
        assert_eq!(record.value(), Some(text(record.partition(), record.offset()).as_bytes()));
        assert_eq!((record.topic(), record.key()), (TOPIC, Some(&b"key"[..])));
        let headers: Vec<_> = record.headers().map(|header| (header.key, header.value)).collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"v"[..]))]);
        seen.push((record.partition(), record.offset()));
    }
    Ok(seen)
}

/// Polls until `count` records have come; each partition's must come in order and without a hole from `first` on.
async fn read(consumer: &mut Consumer, first: i64, count: usize) {
    let mut next = [first; 8];
    let mut seen = 0;
    while seen < count {
        for (partition, offset) in poll(consumer).await.expect("records") {
            let expected = &mut next[usize::try_from(partition).unwrap()];
            assert_eq!(offset, *expected, "partition {partition}");
            *expected += 1;
            seen += 1;
        }
    }
    assert_eq!(seen, count, "and no more");
}

async fn position_known(consumer: &Consumer) {
    while consumer.position(&name(0)).is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn every_record_comes_once_and_in_order_whatever_the_codec() {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let world = World::new(1, 5).await;
    for (partition, codec) in (0..).zip(codecs) {
        world.fill(partition, 0, 5, codec).await;
    }
    let mut consumer = world.reading(5, StartFrom::Beginning).await;
    read(&mut consumer, 0, 250).await;
    assert_eq!(consumer.poll_for(Duration::from_millis(10)).await.unwrap().map(|batch| batch.len()), None);
    assert!((0..5).all(|partition| consumer.position(&name(partition)) == Some(50)));
}

#[tokio::test]
async fn what_is_written_while_polling_comes() {
    let world = World::new(1, 1).await;
    let mut consumer = world.reading(1, StartFrom::Beginning).await;
    let (_, ()) = tokio::join!(world.fill(0, 0, 20, Compression::Lz4), read(&mut consumer, 0, 200));
}

#[tokio::test]
async fn reading_starts_where_it_is_told() {
    let world = World::filled(1, 3).await;
    let starts = [
        (StartFrom::Beginning, 0),
        (StartFrom::Offset(17), 17),
        (StartFrom::Timestamp(1_700_000_000_013), 13),
        (StartFrom::Timestamp(1_800_000_000_000), 30),
        (StartFrom::End, 30),
    ];
    let mut readers = Vec::new();
    for (start, first) in starts {
        let consumer = world.reading(1, start).await;
        // The end is where it was when it was looked up: so that must be done before more is written.
        position_known(&consumer).await;
        readers.push((consumer, first));
    }
    world.fill(0, 30, 1, Compression::None).await;
    for (mut consumer, first) in readers {
        read(&mut consumer, first, usize::try_from(40 - first).unwrap()).await;
    }
}

#[tokio::test]
async fn c1_a_seek_while_a_fetch_is_in_flight_decides() {
    let world = World::filled(2, 3).await;
    let mut consumer = world.reading(2, StartFrom::End).await;
    // Nothing to read: a fetch hangs at the broker.
    assert!(consumer.poll_for(Duration::from_millis(50)).await.unwrap().is_none());
    consumer.seek(&name(1), StartFrom::Offset(5)).unwrap();
    assert_eq!(poll(&mut consumer).await.unwrap(), (5..10).map(|offset| (1, offset)).collect::<Vec<_>>());
    // Now batches are buffered; the seek drops them, and those of nobody else.
    consumer.seek(&name(1), StartFrom::Beginning).unwrap();
    consumer.seek(&name(0), StartFrom::Offset(29)).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 31 {
        seen.extend(poll(&mut consumer).await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 29)].into_iter().chain((0..30).map(|offset| (1, offset))).collect::<Vec<_>>());
}

#[tokio::test]
async fn n10_a_long_poll_of_one_consumer_does_not_hold_up_another() {
    let world = World::filled(2, 3).await;
    let waiting = world.consumer().fetch_max_wait(PATIENCE);
    let mut waiting = waiting.assign([(name(0), StartFrom::End)]).await.unwrap();
    assert!(waiting.poll_for(Duration::from_millis(100)).await.unwrap().is_none());
    let mut reading = world.consumer().assign([(name(1), StartFrom::Offset(25))]).await.unwrap();
    let batch = tokio::time::timeout(PATIENCE / 2, reading.poll()).await.expect("before the long poll ends");
    assert_eq!(batch.unwrap().map(|batch| batch.base_offset()), Some(25));
}

#[tokio::test]
async fn c12_a_batch_larger_than_every_limit_comes_whole() {
    let world = World::new(1, 1).await;
    let producer = world.kafka.producer().build().await.unwrap();
    let large = vec![b'x'; 700_000];
    for _ in 0..3 {
        producer.send(Record::to(TOPIC).partition(0).value(&large)).await.unwrap();
    }
    let consumer = world.consumer().fetch_max_bytes(1000).partition_max_bytes(100).read_ahead(1000);
    let mut consumer = consumer.assign([(name(0), StartFrom::Beginning)]).await.unwrap();
    for offset in 0..3 {
        let batch = consumer.poll().await.unwrap().unwrap();
        assert_eq!((batch.base_offset(), batch.iter().next().unwrap().value().unwrap().len()), (offset, 700_000));
    }
}

#[tokio::test]
async fn c13_a_seek_into_a_compressed_batch_drops_what_lies_before() {
    let world = World::new(1, 1).await;
    world.fill(0, 0, 2, Compression::Zstd).await;
    let mut consumer = world.reading(1, StartFrom::Offset(17)).await;
    assert_eq!(poll(&mut consumer).await.unwrap(), [(0, 17), (0, 18), (0, 19)]);
}

#[tokio::test]
async fn c14_a_batch_damaged_on_the_way_is_fetched_again() {
    let world = World::filled(1, 10).await;
    world.fail(Api::Fetch, FaultAction::CorruptBatch, 1);
    let mut consumer = world.reading(1, StartFrom::Beginning).await;
    read(&mut consumer, 0, 100).await;
}

#[tokio::test]
async fn c14_a_batch_that_stays_damaged_is_told_once_and_a_seek_goes_past_it() {
    let world = World::filled(1, 1).await;
    world.fail(Api::Fetch, FaultAction::CorruptBatch, usize::MAX);
    let mut consumer = world.reading(1, StartFrom::Beginning).await;
    let error = consumer.poll().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptBatch);
    assert!(error.to_string().contains("orders-0") && error.to_string().contains("offset 0"), "{error}");
    assert!(consumer.poll().await.is_err(), "there is nothing else to wait for");
    world.cluster.clear_faults();
    consumer.seek(&name(0), StartFrom::Beginning).unwrap();
    read(&mut consumer, 0, 10).await;
}

#[tokio::test]
async fn c6_errors_of_leadership_lose_and_repeat_nothing() {
    // Not leader, unknown topic, leader unavailable, fenced and unknown leader epoch, unknown topic id, server error.
    for code in [6, 3, 5, 74, 75, 100, -1, 56] {
        let world = World::filled(2, 5).await;
        world.fail(Api::Fetch, FaultAction::Error(code), 3);
        world.fail(Api::ListOffsets, FaultAction::Error(6), 2);
        let mut consumer = world.reading(2, StartFrom::Beginning).await;
        read(&mut consumer, 0, 100).await;
    }
}

#[tokio::test]
async fn c6_a_leader_move_while_reading_loses_and_repeats_nothing() {
    let world = World::new(3, 2).await;
    world.fill(0, 0, 5, Compression::None).await;
    world.fill(1, 0, 5, Compression::None).await;
    let consumer = world.consumer().fetch_max_bytes(600).partition_max_bytes(300).read_ahead(1200);
    let mut consumer = consumer.assign([0, 1].map(|partition| (name(partition), StartFrom::Beginning))).await.unwrap();
    let mut next = [0; 2];
    for round in 0..100 {
        if next == [50; 2] {
            break;
        }
        world.cluster.move_leader(TOPIC, round % 2, (round / 2) % 3).unwrap();
        for (partition, offset) in poll(&mut consumer).await.unwrap() {
            assert_eq!(offset, next[partition as usize]);
            next[partition as usize] += 1;
        }
    }
    assert_eq!(next, [50; 2]);
}

#[tokio::test]
async fn lost_and_broken_connections_lose_and_repeat_nothing() {
    let actions = [
        FaultAction::Disconnect(When::BeforeApplying),
        FaultAction::Disconnect(When::AfterApplying),
        FaultAction::Silence(When::BeforeApplying),
        FaultAction::WrongCorrelationId,
        FaultAction::CutReply(30),
        FaultAction::CutReply(150),
        FaultAction::Garbage(50),
        FaultAction::ReplyLength(-1),
        FaultAction::ReplyLength(i32::MAX),
        FaultAction::Throttle(Duration::from_millis(50)),
    ];
    for action in actions {
        let world = World::filled(1, 5).await;
        world.cluster.inject(Fault::on(Api::Fetch, action.clone()).times(2));
        let mut consumer = world.reading(1, StartFrom::Beginning).await;
        read(&mut consumer, 0, 50).await;
    }
}

#[tokio::test]
async fn a_broker_killed_and_started_again_is_read_on() {
    let world = World::filled(1, 5).await;
    let consumer = world.consumer().fetch_max_bytes(300).partition_max_bytes(300).read_ahead(600);
    let mut consumer = consumer.assign([(name(0), StartFrom::Beginning)]).await.unwrap();
    assert_eq!(poll(&mut consumer).await.unwrap().len(), 10);
    world.cluster.kill(0).await;
    tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            world.cluster.restart(0).await.unwrap();
        },
        read(&mut consumer, 10, 40),
    );
}

#[tokio::test]
async fn a_partition_that_was_added_since_the_last_metadata_is_assigned() {
    let world = World::new(1, 2).await;
    let mut consumer = world.reading(2, StartFrom::Beginning).await;
    let more = CreatePartitionsTopic { name: TOPIC.into(), count: 3, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![more], timeout_ms: 5000, ..Default::default() };
    let answer = world.kafka.request(request).controller().await.expect("an answer");
    assert_eq!(answer.results[0].error_code.0, 0);
    consumer.assign([(name(2), StartFrom::Beginning)]).await.expect("it is asked for again before it is denied");
    world.fill(2, 0, 1, Compression::None).await;
    assert_eq!(poll(&mut consumer).await.expect("its records")[0], (2, 0));
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_an_error_in_bounded_time() {
    let world = World::new(1, 1).await;
    let consumer = || world.consumer().api_timeout(Duration::from_millis(200));
    let unknown = consumer().assign([(TopicPartition::new("nothing", 0), StartFrom::Beginning)]).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopic);
    assert!(unknown.to_string().contains("nothing"), "{unknown}");
    let unknown = consumer().assign([(name(7), StartFrom::Beginning)]).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopic);
    assert!(unknown.to_string().contains("orders-7"), "{unknown}");
}

#[tokio::test]
async fn c4_an_offset_out_of_range_asks_the_reset_policy() {
    let world = World::filled(1, 2).await;
    for (reset, position) in
        [(OffsetReset::Earliest, Some(0)), (OffsetReset::Latest, Some(20)), (OffsetReset::None, None)]
    {
        let consumer = world.consumer().offset_reset(reset);
        let mut consumer = consumer.assign([(name(0), StartFrom::Offset(999))]).await.unwrap();
        match position {
            Some(0) => read(&mut consumer, 0, 20).await,
            Some(end) => {
                while consumer.position(&name(0)) != Some(end) {
                    assert!(consumer.poll_for(Duration::from_millis(5)).await.unwrap().is_none());
                }
            }
            None => {
                let error = consumer.poll().await.unwrap_err();
                assert_eq!(error.code().map(|code| code.0), Some(1), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn trouble_that_stays_is_told_and_ends_by_itself() {
    let world = World::filled(1, 1).await;
    world.fail(Api::Fetch, FaultAction::Error(5), usize::MAX);
    let consumer = world.consumer().api_timeout(Duration::from_millis(300));
    let mut consumer = consumer.assign([(name(0), StartFrom::Beginning)]).await.unwrap();
    let error = consumer.poll().await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("orders-0"), "{error}");
    world.cluster.clear_faults();
    read(&mut consumer, 0, 10).await;
}

#[tokio::test]
async fn pause_keeps_and_resume_returns() {
    let world = World::filled(2, 2).await;
    let mut consumer = world.reading(2, StartFrom::Beginning).await;
    consumer.pause(&name(0)).unwrap();
    assert_eq!([poll(&mut consumer).await.unwrap()[0], poll(&mut consumer).await.unwrap()[0]], [(1, 0), (1, 10)]);
    assert!(consumer.poll_for(Duration::from_millis(150)).await.unwrap().is_none());
    consumer.resume(&name(0)).unwrap();
    assert_eq!(poll(&mut consumer).await.unwrap()[0], (0, 0));
    assert_eq!(consumer.pause(&name(5)).unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_new_assignment_keeps_those_that_stay() {
    let world = World::filled(3, 2).await;
    let mut consumer = world.reading(2, StartFrom::Beginning).await;
    poll(&mut consumer).await.unwrap();
    let before = consumer.position(&name(1));
    consumer.assign([(name(1), StartFrom::End), (name(2), StartFrom::Offset(15))]).await.unwrap();
    assert_eq!(consumer.assignment(), [name(2), name(1)]);
    assert_eq!(consumer.position(&name(1)), before);
    let mut seen = Vec::new();
    while seen.len() < 25 - usize::try_from(before.unwrap()).unwrap() {
        seen.extend(poll(&mut consumer).await.unwrap());
    }
    assert!(seen.iter().all(|(partition, _)| *partition != 0));
}

#[tokio::test]
async fn reading_to_the_end_ends_there() {
    let world = World::filled(3, 4).await;
    world.cluster.inject(Fault::on(Api::ListOffsets, FaultAction::Error(6)));
    let mut consumer = world.reading(3, StartFrom::Beginning).await;
    let ends = consumer.ends().await.unwrap();
    assert!(ends.iter().all(|(_, end)| *end == 40) && ends.iter().count() == 3);
    let mut seen = 0;
    while let Some(batch) = consumer.poll_to(&ends).await.unwrap() {
        seen += batch.len();
        assert_eq!(batch.high_watermark(), 40);
    }
    assert_eq!(seen, 120);
    assert!(consumer.at_end() && consumer.lag(&name(0)) == Some(0));
}

#[tokio::test]
async fn reading_an_empty_topic_to_the_end_ends_at_once() {
    let world = World::new(1, 2).await;
    let mut consumer = world.reading(2, StartFrom::Beginning).await;
    let ends = consumer.ends().await.unwrap();
    assert!(consumer.poll_to(&ends).await.unwrap().is_none());
}

#[tokio::test]
async fn after_close_there_is_nothing_more() {
    let world = World::filled(1, 1).await;
    let mut consumer = world.reading(1, StartFrom::Beginning).await;
    consumer.close().await.unwrap();
    assert!(consumer.poll().await.unwrap().is_none());
    consumer.close().await.unwrap();
}

/// Polls `future` at most `polls` times and then drops it.
async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_poll_dropped_at_any_await_loses_nothing() {
    for polls in 1..6 {
        let world = World::filled(2, 10).await;
        let consumer = world.consumer().fetch_max_bytes(600).partition_max_bytes(300).read_ahead(900);
        let parts = [0, 1].map(|partition| (name(partition), StartFrom::Beginning));
        let mut consumer = consumer.value(SlowStart::default()).assign(parts).await.unwrap();
        let mut next = [0; 2];
        while next != [100; 2] {
            let outcome = give_up_after(polls, consumer.poll()).await;
            let Some(batch) = outcome else {
                tokio::task::yield_now().await;
                continue;
            };
            let batch = batch.unwrap().unwrap();
            for record in &batch {
                let expected = &mut next[record.partition() as usize];
                assert_eq!(record.value().unwrap(), text(record.partition(), *expected));
                *expected += 1;
            }
        }
    }
}

/// Needs two awaits before each batch, like a schema that is fetched by its id.
struct SlowStart {
    left: AtomicUsize,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { left: AtomicUsize::new(2) }
    }
}

impl Deserializer for SlowStart {
    type Output<'a> = &'a str;

    fn is_ready(&self, _target: Target<'_>, _payload: &[u8]) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    async fn prepare(&self, _target: Target<'_>, _payload: &[u8]) -> Result<()> {
        self.left.fetch_sub(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(())
    }

    fn deserialize<'a>(&self, target: Target<'_>, payload: Option<&'a [u8]>) -> Result<&'a str> {
        self.left.store(2, Ordering::Relaxed);
        Ok(Utf8.deserialize(target, payload)?.unwrap_or_default())
    }
}

#[tokio::test]
async fn a_deserializer_that_fails_to_prepare_gets_the_same_batch_again() {
    struct Failing(AtomicUsize);

    impl Deserializer for Failing {
        type Output<'a> = ();

        fn is_ready(&self, _target: Target<'_>, _payload: &[u8]) -> bool {
            self.0.load(Ordering::Relaxed) >= 2
        }

        fn prepare(&self, _target: Target<'_>, _payload: &[u8]) -> impl Future<Output = Result<()>> + Send {
            self.0.fetch_add(1, Ordering::Relaxed);
            ready(Err(milena::Error::new(ErrorKind::Registry(503), "the registry is down")))
        }

        fn deserialize(&self, _target: Target<'_>, _payload: Option<&[u8]>) -> Result<()> {
            Ok(())
        }
    }

    let world = World::filled(1, 1).await;
    let consumer = world.consumer().value(Failing(AtomicUsize::new(0)));
    let mut consumer = consumer.assign([(name(0), StartFrom::Beginning)]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(consumer.poll().await.unwrap_err().kind(), ErrorKind::Registry(503));
        assert_eq!(consumer.position(&name(0)), Some(0), "not delivered yet");
    }
    assert_eq!(consumer.poll().await.unwrap().map(|batch| batch.len()), Some(10));
    assert_eq!(consumer.position(&name(0)), Some(10));
}

#[tokio::test]
async fn keys_and_values_are_read_by_deserializers() {
    let world = World::filled(1, 1).await;
    let consumer = world.consumer().key(Utf8).value(Utf8);
    let mut consumer: Consumer<Typed<Utf8>, Typed<Utf8>> =
        consumer.assign([(name(0), StartFrom::Beginning)]).await.unwrap();
    let batch = consumer.poll().await.unwrap().unwrap();
    for record in &batch {
        assert_eq!(record.key().unwrap(), Some("key"));
        assert_eq!(record.value().unwrap().map(str::to_owned), Some(text(0, record.offset())));
        assert_eq!(record.timestamp(), 1_700_000_000_000 + record.offset());
    }
}

#[tokio::test]
async fn consumers_go_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let world = World::filled(1, 1).await;
    let mut consumer: Consumer<Bytes, Bytes> = world.reading(1, StartFrom::Beginning).await;
    is_send(consumer.poll());
    tokio::spawn(async move { read(&mut consumer, 0, 10).await }).await.unwrap();
}
