//! What can be seen of a producer from outside, and what a program can put between itself and the records: metrics,
//! spans, interceptors, codecs by topic.
//!
//! Client and cluster run in one thread on an in-process network, on a paused clock.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use milena::{
    ErrorCode, ErrorKind, Record, TopicPartition,
    consumer::StartFrom,
    embedded::{Api, Fault, FaultAction, Way},
    producer::{OutgoingRecord, Producer, ProducerBuilder, ProducerInterceptor, SettledBatch},
    record::Compression,
};
use tokio::time::sleep;
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};

mod common;

use common::{BROKER, MILLISECOND, TOPIC, World};

impl World {
    /// A producer that has its identity and its connection.
    async fn producer(&self, adjust: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
        let builder = self.kafka.producer().linger(Duration::from_millis(10)).buffer_memory(1 << 20);
        let producer = adjust(builder).build().await.expect("a producer");
        producer.send(Record::to(TOPIC).value("first")).await.expect("written");
        producer
    }

    /// The headers of each record of the topic.
    async fn headers(&self) -> Vec<Vec<(String, String)>> {
        let from = [(TopicPartition::new(TOPIC, 0), StartFrom::Beginning)];
        let mut consumer = self.kafka.consumer().assign(from).await.expect("assigned");
        let ends = consumer.ends().await.expect("ends");
        let mut found = Vec::new();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"null")).into_owned();
        while let Some(batch) = consumer.poll_to(&ends).await.expect("polled") {
            found.extend(batch.iter().map(|record| {
                record.headers().map(|header| (text(Some(header.key)), text(header.value))).collect::<Vec<_>>()
            }));
        }
        found
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_was_done() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.topic_metrics(true)).await;
    let before = producer.metrics();
    let refused = FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    world.cluster.inject(Fault::on(Api::Produce, refused).topic("u"));
    let to = |topic, count| (0..count).map(move |_| Record::to(topic).value([7; 100]));
    for (topic, count) in [(TOPIC, 300), ("u", 50)] {
        producer.prepare(&Record::to(topic)).await.expect("there is one");
        producer.enqueue_batch(to(topic, count)).await.expect("taken").settled().await.expect("written");
    }
    let now = producer.metrics();
    assert_eq!((now.records_acked, now.records_failed, now.records_retried), (351, 0, 50), "{now:?}");
    assert_eq!((now.batches_acked, now.batches_sent, now.requests, now.batches_failed), (3, 4, 4, 0));
    assert_eq!(now.refusals, [(ErrorCode::NOT_LEADER_OR_FOLLOWER, 1)]);
    assert_eq!((now.requests_in_flight, now.waiting_callers, now.buffered.records), (0, 0, 0));
    let by_topic = now.topics.iter().map(|(topic, it)| (&**topic, it.records_acked, it.records_retried));
    assert_eq!(by_topic.collect::<Vec<_>>(), [(TOPIC, 301, 0), ("u", 50, 50)]);
    assert_eq!(now.topics.values().map(|topic| topic.wire_bytes).sum::<u64>(), now.wire_bytes);
    let records = now.batch_records.since(&before.batch_records);
    assert_eq!((records.count(), records.sum(), records.max()), (2, 350, Some(300)));
    assert_eq!((now.batch_bytes.sum(), now.compression_ratio.max()), (now.wire_bytes, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_how_long_it_took() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    let before = producer.metrics();
    producer.send(Record::to(TOPIC).value("x")).await.expect("written");
    let now = producer.metrics();
    let max = |now: &milena::producer::Histogram<Duration>, before| now.since(before).max().expect("one");
    // The linger is 10 ms, and a millisecond is lost each way.
    let within = |time: Duration, from: u32, to: u32| (MILLISECOND * from..=MILLISECOND * to).contains(&time);
    let queued = max(&now.queue_time, &before.queue_time);
    assert!(within(queued, 10, 13), "waited {queued:?}");
    let answered = max(&now.request_time, &before.request_time);
    assert!(within(answered, 2, 5), "answered after {answered:?}");
    let all = max(&now.latency, &before.latency);
    assert!(within(all, 12, 17), "acknowledged after {all:?}");
    world.cluster.inject(Fault::on(Api::Produce, FaultAction::Throttle(Duration::from_millis(300))));
    producer.send(Record::to(TOPIC).value("x")).await.expect("written");
    let now = producer.metrics();
    assert_eq!((now.throttles, now.throttle_time), (1, Duration::from_millis(300)));
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_who_waits_and_what_failed() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.max_block(Duration::from_secs(5))).await;
    world.network.stall(BROKER, Way::Both);
    let large = || Record::to(TOPIC).value(vec![7; 300_000]);
    for _ in 0..3 {
        producer.enqueue(large()).await.expect("taken").detach();
    }
    sleep(Duration::from_secs(1)).await;
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.enqueue(Record::to(TOPIC).value(vec![7; 300_000])).await }
    });
    sleep(Duration::from_secs(1)).await;
    producer.try_enqueue(large()).expect_err("it is full");
    let now = producer.metrics();
    assert_eq!((now.waiting_callers, now.requests_in_flight, now.buffered.records, now.buffer_full), (1, 1, 3, 1));
    assert!(waiting.await.expect("no panic").is_err(), "there was no room");
    let now = producer.metrics();
    assert_eq!((now.waiting_callers, now.buffer_full, now.memory_wait), (0, 2, Duration::from_secs(5)));
    producer.clone().close_with(Duration::ZERO).await.expect_err("nothing was acknowledged");
    let now = producer.metrics();
    assert_eq!((now.records_failed, now.batches_failed, now.buffered.bytes), (3, 1, 0));
    assert_eq!(now.failures, [(ErrorKind::Closed, 3)]);
}

#[tokio::test(start_paused = true)]
async fn each_topic_may_have_its_own_codec() {
    let world = World::new().await;
    let codecs = |builder: ProducerBuilder| {
        builder.compression(Compression::Lz4).topic_compression("u", Compression::None, None).topic_metrics(true)
    };
    let producer = world.producer(codecs).await;
    for topic in [TOPIC, "u"] {
        producer.send(Record::to(topic).value(vec![7; 10_000])).await.expect("written");
    }
    let metrics = producer.metrics();
    let is_smaller = |topic: &str| metrics.topics.get(topic).is_some_and(|it| it.wire_bytes * 10 < it.raw_bytes);
    assert_eq!((is_smaller(TOPIC), is_smaller("u")), (true, false), "{metrics:?}");
    let level = world.kafka.producer().topic_compression("u", Compression::Zstd, Some(99)).build().await;
    assert_eq!(level.expect_err("there is no such level").kind(), ErrorKind::Config);
}

/// Adds a header, and panics where it was told to.
struct Tracer {
    name: &'static str,
    panics: bool,
    shown: AtomicUsize,
    told: Mutex<Vec<Told>>,
}

/// A batch's records, first offset and error.
type Told = (i32, Option<i64>, Option<ErrorKind>);

impl Tracer {
    fn new(name: &'static str, panics: bool) -> Arc<Self> {
        Arc::new(Self { name, panics, shown: AtomicUsize::new(0), told: Mutex::default() })
    }
}

struct Shared(Arc<Tracer>);

impl ProducerInterceptor for Shared {
    fn on_enqueue(&self, record: &mut OutgoingRecord<'_>) {
        self.0.shown.fetch_add(1, Relaxed);
        let seen: Vec<String> = record.headers().map(|header| header.key.to_owned()).collect();
        record.add_header(self.0.name, format!("behind {}", seen.join(" ")));
        assert!(!self.0.panics, "an interceptor that panics");
    }

    fn on_acknowledgement(&self, batch: &SettledBatch<'_>) {
        let mut told = self.0.told.lock().expect("no panic while it was held");
        told.push((batch.records, batch.base_offset, batch.error.map(milena::Error::kind)));
        drop(told);
        assert!(!self.0.panics, "an interceptor that panics");
    }
}

#[tokio::test(start_paused = true)]
async fn interceptors_add_headers_and_hear_of_batches_and_a_panic_harms_nobody() {
    let world = World::new().await;
    let tracers = [Tracer::new("a", false), Tracer::new("bad", true), Tracer::new("b", false)];
    let [first, bad, last] = tracers.each_ref().map(|tracer| Shared(tracer.clone()));
    let producer = world.producer(|builder| builder.interceptor(first).interceptor(bad).interceptor(last)).await;
    producer.send(Record::to(TOPIC).value("x").header("own", "1")).await.expect("written");
    let records = (0..3).map(|_| Record::to(TOPIC).value("x"));
    producer.enqueue_batch(records).await.expect("taken").settled().await.expect("written");
    world.cluster.inject(Fault::on(Api::Produce, FaultAction::Error(ErrorCode::INVALID_RECORD.0)));
    producer.try_enqueue(Record::to(TOPIC).value("x")).expect("taken").await.expect_err("refused");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let added = [pair("a", "behind "), pair("b", "behind a")];
    let mut expected = vec![added.to_vec(); 5];
    expected[1] = vec![pair("own", "1"), pair("a", "behind own"), pair("b", "behind own a")];
    assert_eq!(world.headers().await, expected);
    let told = [(1, Some(0), None), (1, Some(1), None), (3, Some(2), None)];
    let refused = (1, None, Some(ErrorKind::Broker(ErrorCode::INVALID_RECORD)));
    for tracer in tracers {
        assert_eq!(tracer.shown.load(Relaxed), 6, "{}", tracer.name);
        assert_eq!(*tracer.told.lock().expect("no panic"), [told.as_slice(), &[refused]].concat(), "{}", tracer.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_keeps_its_headers_and_is_shown_once() {
    let world = World::new().await;
    let tracer = Tracer::new("a", false);
    let shared = Shared(tracer.clone());
    let producer = world.producer(|builder| builder.buffer_memory(100_000).interceptor(shared)).await;
    world.network.stall(BROKER, Way::Both);
    let large = || Record::to(TOPIC).value(vec![7; 60_000]).header("own", "1");
    producer.enqueue(large()).await.expect("taken").detach();
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.enqueue(Record::to(TOPIC).value(vec![7; 60_000]).header("own", "2")).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    world.network.heal();
    waiting.await.expect("no panic").expect("taken").await.expect("written");
    let found = world.headers().await;
    let expected = [("own".to_owned(), "2".to_owned()), ("a".to_owned(), "behind own".to_owned())];
    assert_eq!((found.len(), &*found[2], tracer.shown.load(Relaxed)), (3, &expected[..], 3));
}

/// Spans by name, with their fields; and how many are open.
#[derive(Default, Clone)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

#[derive(Default, Clone, Debug)]
struct Seen {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
    follows: Vec<u64>,
    references: usize,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Spans {
    fn with<R>(&self, id: &Id, change: impl FnOnce(&mut Seen) -> R) -> R {
        change(&mut self.0.lock().expect("no panic")[id.into_u64() as usize - 1])
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        self.0.lock().expect("no panic").iter().filter(|seen| seen.name == name).cloned().collect()
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "milena::producer" && metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = Seen { name: span.metadata().name(), references: 1, ..Seen::default() };
        span.record(&mut seen);
        let mut all = self.0.lock().expect("no panic");
        all.push(seen);
        Id::from_u64(all.len() as u64)
    }

    fn record(&self, span: &Id, values: &tracing::span::Record<'_>) {
        self.with(span, |seen| values.record(seen));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.with(span, |seen| seen.follows.push(follows.into_u64()));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.with(id, |seen| seen.references += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.with(&id, |seen| {
            seen.references -= 1;
            seen.references == 0
        })
    }

    fn event(&self, _event: &tracing::Event<'_>) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn batches_and_requests_have_spans_and_records_have_none() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    // As long as there is one dispatcher only, tracing asks the thread that comes to a span first, and remembers for all
    // what it says: the other tests' threads have none. With two it asks both.
    let _second = tracing::Dispatch::new(Spans::default());
    let world = World::new().await;
    let producer = world.producer(|builder| builder).await;
    producer.enqueue_batch((0..100).map(|_| Record::to(TOPIC).value("x"))).await.expect("taken").detach();
    producer.flush().await.expect("written");
    world.cluster.inject(Fault::on(Api::Produce, FaultAction::Error(ErrorCode::INVALID_RECORD.0)));
    producer.send(Record::to(TOPIC).value("x")).await.expect_err("refused");
    sleep(Duration::from_secs(1)).await;
    let (batches, requests) = (spans.named("batch"), spans.named("produce"));
    assert_eq!((batches.len(), requests.len()), (3, 3), "one for each, whatever it holds");
    let field = |seen: &Seen, name: &str| seen.fields.get(name).cloned().unwrap_or_default();
    let second = ["topic", "partition", "records", "offset"].map(|name| field(&batches[1], name));
    assert_eq!(second, ["t", "0", "100", "1"]);
    assert!(field(&batches[2], "error").contains("INVALID_RECORD"), "{:?}", batches[2]);
    assert_eq!(["broker", "batches", "records"].map(|name| field(&requests[1], name)), ["0", "1", "100"]);
    assert_eq!(requests[1].follows.len(), 1, "it follows from its batch");
    let open = batches.iter().chain(&requests).filter(|seen| seen.references > 0).count();
    assert_eq!(open, 0, "all of them are closed");
}
