//! What a producer holds while brokers do not take its records: its buffer and a constant beside it, whatever they do.
//!
//! The client runs in the test's thread and the broker in another; blocks are counted by thread, so a whole test is one
//! thread of the client. What compressing takes besides happens on other threads and is bounded by their number.

mod aside;
mod counting;

use std::time::Duration;

use aside::{Aside, runtime};
use counting::counted;
use milena::{
    ErrorCode, ErrorKind, Kafka, Record,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, When},
    producer::{Producer, ProducerBuilder},
};
use tokio::time::Instant;

const TOPIC: &str = "t";
const BUFFER: usize = 8 << 20;

/// How brokers keep records from being written.
#[derive(Debug, Clone, Copy)]
enum Broker {
    /// Takes connections and bytes, as far as the system does, and answers nothing.
    Paused,
    /// Reads every request and answers none; connections stay open.
    Silent,
    /// Says for ever that it is not the leader.
    Refusing,
    /// Closes each connection when it has read a request.
    Hanging,
    /// Writes and answers, slowly.
    Slow,
    Gone,
}

impl Broker {
    fn begin(self, broker: &mut Aside) {
        let cluster = broker.cluster.clone();
        let always = |action| drop(cluster.inject(Fault::on(Api::Produce, action).times(usize::MAX)));
        match self {
            Self::Paused => cluster.pause(0),
            Self::Silent => always(FaultAction::Silence(When::BeforeApplying)),
            Self::Refusing => always(FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER.0)),
            Self::Hanging => always(FaultAction::Disconnect(When::BeforeApplying)),
            Self::Slow => always(FaultAction::Delay(Duration::from_millis(50))),
            Self::Gone => broker.stop(),
        }
    }
}

/// Enqueues as fast as it is let, for a while; whatever does not fit or fails is let go.
async fn press(producer: &Producer, partitions: i32, value: &[u8], lasts: Duration) -> (usize, usize) {
    let (until, mut enqueued, mut refused) = (Instant::now() + lasts, 0, 0);
    while Instant::now() < until {
        let partition = (enqueued % partitions as usize) as i32;
        match producer.enqueue(Record::to(TOPIC).partition(partition).value(value)).await {
            Ok(delivery) => {
                delivery.detach();
                enqueued += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}");
                refused += 1;
            }
        }
    }
    (enqueued, refused)
}

/// Records of `len` bytes for so many partitions.
#[derive(Debug, Clone, Copy)]
struct Shape {
    partitions: i32,
    len: usize,
}

/// Every partition and its leader are known then, and connections stand.
async fn write_to_each(producer: &Producer, partitions: i32) {
    for partition in 0..partitions {
        while producer.enqueue(Record::to(TOPIC).partition(partition).value("x")).await.is_err() {}
    }
    producer.flush().await.expect("flushed");
}

/// The bytes held beside the buffer at the worst moment, and what was tried.
fn excess(kind: Broker, shape: Shape) -> (isize, String) {
    let Shape { partitions, len } = shape;
    let mut broker = Aside::start(EmbeddedCluster::builder().topic(TOPIC, partitions).retention_bytes(8 << 20));
    let (runtime, value) = (runtime(), vec![7; len]);
    let builder = Kafka::builder().bootstrap(&broker.cluster.bootstrap()).property("request.timeout.ms", "300");
    let kafka = runtime.block_on(builder.connect()).expect("it is reachable");
    let adjust = |builder: ProducerBuilder| {
        let builder = builder.buffer_memory(BUFFER).batch_size(1 << 20).linger(Duration::from_millis(5));
        builder.delivery_timeout(Duration::from_millis(700)).max_block(Duration::from_millis(50))
    };
    let mut outcome = (0, 0);
    // All that is the producer's: what it knows of its partitions, and connections too.
    let (_, peak) = counted(|| {
        let producer = runtime.block_on(adjust(kafka.producer()).build()).expect("a producer");
        runtime.block_on(write_to_each(&producer, partitions));
        kind.begin(&mut broker);
        outcome = runtime.block_on(press(&producer, partitions, &value, LASTS));
        producer
    });
    let (enqueued, refused) = outcome;
    (peak as isize - BUFFER as isize, format!("{kind:?}, {shape:?}: {enqueued} enqueued, {refused} refused"))
}

#[test]
fn p13_a_producer_holds_its_buffer_and_a_constant_whatever_the_broker_does() {
    use Broker::{Gone, Hanging, Paused, Refusing, Silent, Slow};
    for kind in [Paused, Silent, Refusing, Hanging, Slow, Gone] {
        for (partitions, len) in [(1, 100), (1_000, 10), (1_000, 5_000), (6, 900_000)] {
            let (excess, tried) = excess(kind, Shape { partitions, len });
            println!("{tried}, {excess} bytes beside the buffer");
            let allowed = BESIDE + BESIDE_EACH * partitions as usize;
            assert!(excess <= allowed as isize, "{tried}, {excess} bytes beside the buffer, allowed are {allowed}");
        }
    }
}

const LASTS: Duration = Duration::from_millis(600);
/// What docs/reliability.md promises: for connections, requests and tasks, and for each partition.
const BESIDE: usize = 256 << 10;
const BESIDE_EACH: usize = 4 << 10;
