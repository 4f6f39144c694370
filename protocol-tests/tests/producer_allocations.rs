//! What a producer that has found its pace takes from the allocator: nothing per record, a fixed number per batch.
//!
//! The client runs in the test's thread and the broker in another, so that counting by thread counts the client alone.

mod aside;
mod counting;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use aside::{Aside, runtime};
use counting::counted;
use milena::{
    Kafka, Record, Result,
    embedded::EmbeddedCluster,
    producer::{Absent, Given, OutgoingRecord, Producer, ProducerBuilder, ProducerInterceptor},
    record::Header,
    serdes::{Serializer, Target},
};
use tokio::{runtime::Runtime, task::JoinSet};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 6;
const VALUE: [u8; 100] = [7; 100];
const KEYS: [&str; 20] = [
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8",
    "b9",
];

static HEADERS: [Header<'static>; 2] =
    [Header { key: "source", value: Some(b"shop") }, Header { key: "trace", value: None }];

struct Setting {
    _broker: Aside,
    runtime: Runtime,
    kafka: Kafka,
}

impl Setting {
    fn new() -> Self {
        let broker = Aside::start(EmbeddedCluster::builder().topic(TOPIC, PARTITIONS).retention_bytes(8 << 20));
        let runtime = runtime();
        let bootstrap = broker.cluster.bootstrap();
        let kafka = runtime.block_on(Kafka::connect(&bootstrap)).expect("it is reachable");
        Self { _broker: broker, runtime, kafka }
    }

    fn producer<K, V>(&self, adjust: impl FnOnce(ProducerBuilder) -> ProducerBuilder<K, V>) -> Producer<K, V> {
        self.runtime.block_on(adjust(self.kafka.producer()).build()).expect("a producer")
    }
}

/// The output of a future that waits for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn value(_: usize) -> Record<'static, Absent, Given<&'static [u8]>> {
    Record::to(TOPIC).value(&VALUE[..])
}

/// Counts what so many records take that join batches which are open already, in chunks that are there already.
fn allocations_of_joining(enqueue: &dyn Fn(usize), flush: &dyn Fn()) -> usize {
    const JOINING: usize = 60;
    for _ in 0..3 {
        (0..2_000).for_each(enqueue);
        flush();
    }
    // Every partition gets its batch.
    (0..KEYS.len()).for_each(enqueue);
    let (allocations, _) = counted(|| (0..JOINING).for_each(enqueue));
    flush();
    allocations
}

macro_rules! joining {
    ($setting:expr, $producer:expr, $record:expr) => {{
        let (setting, producer, record) = (&$setting, $producer, $record);
        let _entered = setting.runtime.enter();
        setting.runtime.block_on(producer.enqueue(record(0))).expect("the topic is known from here on").detach();
        allocations_of_joining(&|number| now(producer.enqueue(record(number))).expect("enqueued").detach(), &|| {
            setting.runtime.block_on(producer.flush()).expect("flushed")
        })
    }};
}

/// Writes a number in decimal, as a serializer of one's own would.
#[derive(Debug, Clone)]
struct Decimal;

impl Serializer<usize> for Decimal {
    fn serialize(&self, _: Target<'_>, value: &usize, out: &mut Vec<u8>) -> Result<()> {
        use std::io::Write;
        write!(out, "{value}").expect("a vector takes it");
        Ok(())
    }
}

/// Adds what a trace would.
struct Tracing;

impl ProducerInterceptor for Tracing {
    fn on_enqueue(&self, record: &mut OutgoingRecord<'_>) {
        record.add_header("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        record.add_null_header("sampled");
    }
}

#[test]
fn other_ways_in_allocate_nothing_for_a_record_either() {
    let setting = Setting::new();
    let _entered = setting.runtime.enter();
    for traced in [false, true] {
        let lingering = setting.producer(|builder| builder.linger(Duration::from_secs(3600)).batch_size(1 << 20));
        let tracing = |builder: ProducerBuilder| builder.linger(Duration::from_secs(3600)).interceptor(Tracing);
        let producer = if traced { setting.producer(tracing) } else { lingering };
        let record = |number: usize| value(number).headers(&HEADERS);
        setting.runtime.block_on(producer.prepare(&record(0))).expect("there is such a topic");
        let flush = || setting.runtime.block_on(producer.flush()).expect("flushed");
        let tried = |number| match producer.try_enqueue(record(number)) {
            Ok(delivery) => delivery.detach(),
            Err(_) => setting.runtime.block_on(producer.enqueue(record(number))).expect("enqueued").detach(),
        };
        assert_eq!(allocations_of_joining(&tried, &flush), 0, "attempts, traced: {traced}");
        let enqueued = |number| now(producer.enqueue(record(number))).expect("enqueued").detach();
        assert_eq!(allocations_of_joining(&enqueued, &flush), 0, "enqueued, traced: {traced}");
        enqueued(0);
        let (allocations, _) = counted(|| now(producer.enqueue_batch((0..60).map(record))).expect("taken").detach());
        assert!(allocations <= 2, "{allocations} for 60 records at once, traced: {traced}");
    }
}

#[test]
fn a_record_that_joins_a_batch_allocates_nothing() {
    let setting = Setting::new();
    let lingering = |builder: ProducerBuilder| builder.linger(Duration::from_secs(3600)).batch_size(1 << 20);
    let by_number = |builder: ProducerBuilder| lingering(builder).value(Decimal);
    let table = [
        ("without a key", joining!(setting, setting.producer(lingering), value), 0),
        ("with a key", joining!(setting, setting.producer(lingering), |n: usize| value(n).key(KEYS[n % 20])), 0),
        (
            "to a partition",
            joining!(setting, setting.producer(lingering), |n: usize| value(n).partition(n as i32 % 6)),
            0,
        ),
        (
            "with borrowed headers",
            joining!(setting, setting.producer(lingering), |n: usize| value(n).headers(&HEADERS)),
            0,
        ),
        (
            "through a serializer",
            joining!(setting, setting.producer(by_number), |n: usize| Record::to(TOPIC).value(n)),
            0,
        ),
        // A list of headers that is made header by header is the caller's: one allocation of its own.
        (
            "with headers one by one",
            joining!(setting, setting.producer(lingering), |n: usize| value(n).header("source", "shop")),
            60,
        ),
    ];
    for (kind, allocations, allowed) in table {
        assert_eq!(allocations, allowed, "allocations of 60 records {kind}");
    }
}

/// What a whole round takes, sending and its answers included, by batch.
#[test]
fn a_batch_allocates_the_same_whatever_it_holds() {
    const ROUND: usize = 60_000;
    let setting = Setting::new();
    for (batch_size, value_len) in [(16_000, 10), (16_000, 100), (100_000, 10), (100_000, 100), (500_000, 100)] {
        let producer = setting.producer(|builder| builder.batch_size(batch_size));
        let round = || {
            setting.runtime.block_on(async {
                for _ in 0..ROUND {
                    let record = Record::to(TOPIC).value(&VALUE[..value_len]);
                    producer.enqueue(record).await.expect("enqueued").detach();
                }
                producer.flush().await.expect("flushed");
            });
        };
        (0..3).for_each(|_| round());
        let before = producer.metrics().batches_acked;
        let (allocations, _) = counted(round);
        let batches = (producer.metrics().batches_acked - before) as usize;
        let chunks = ROUND * (value_len + 8) / 32_000;
        println!(
            "batches of {batch_size}, values of {value_len}: {allocations} allocations, {batches} batches, {:.4} a \
             record, {:.1} a batch",
            allocations as f64 / ROUND as f64,
            allocations as f64 / batches as f64,
        );
        let allowed = PER_BATCH * batches + PER_CHUNK * chunks + 100;
        assert!(allocations <= allowed, "{allocations} allocations for {batches} batches and {chunks} chunks");
    }
}

/// Counted apart: a send that is awaited alone is a batch and a request of its own; many at a time share them.
#[test]
fn awaited_sends_share_what_their_batch_takes() {
    const SENDS: usize = 200;
    const TASKS: usize = 200;
    let setting = Setting::new();
    let producer = setting.producer(|builder| builder.linger(Duration::ZERO));
    let alone = || {
        setting.runtime.block_on(async {
            for number in 0..SENDS {
                producer.send(value(number)).await.expect("sent");
            }
        });
    };
    alone();
    let (allocations, _) = counted(alone);
    println!("one at a time: {:.1} allocations a send", allocations as f64 / SENDS as f64);
    assert!(allocations <= PER_SEND * SENDS, "{allocations} allocations for {SENDS} sends");
    let together = || {
        setting.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..TASKS {
                let producer = producer.clone();
                tasks.spawn(async move {
                    for number in 0..SENDS {
                        producer.send(value(number)).await.expect("sent");
                    }
                });
            }
            tasks.join_all().await;
        });
    };
    together();
    let (allocations, _) = counted(together);
    println!("{TASKS} at a time: {:.3} allocations a send", allocations as f64 / (SENDS * TASKS) as f64);
    assert!(allocations <= SENDS * TASKS / 2, "{allocations} allocations for {} sends", SENDS * TASKS);
}

/// Of a batch and its share in a request and its answer.
const PER_BATCH: usize = 34;
/// Of 32 KiB that become refcounted bytes.
const PER_CHUNK: usize = 2;
/// Of a batch, its request and its answer.
const PER_SEND: usize = 45;
