//! Every future of the API, dropped after each of its polls in turn; then the log is looked at.
//!
//! What was enqueued stands in the log once; what was not does not; nobody hangs; all memory comes back.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use milena::{
    ErrorKind, Kafka, Record, TopicPartition,
    admin::{NewTopic, OffsetSpec},
    consumer::StartFrom,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction},
    producer::{Producer, ProducerBuilder},
    wire::ErrorCode,
};

const TOPIC: &str = "t";
const MEMORY: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Polls a future so often at most. `None` when that was not enough: then it is dropped as it is.
struct Within<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

fn within<F: Future>(polls: usize, future: F) -> Within<F> {
    Within { future: Box::pin(future), polls }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Tells a story with 0, 1, 2, … polls, until it answers that so many were enough.
async fn at_every_poll(story: impl AsyncFn(usize) -> bool) {
    for polls in 0..200 {
        let told = tokio::time::timeout(PATIENCE, pin!(story(polls))).await;
        if told.unwrap_or_else(|_| panic!("somebody hangs after {polls} polls")) {
            assert!(polls > 0, "nothing is ready before it is polled");
            return;
        }
    }
    panic!("200 polls were not enough");
}

/// A cluster whose answers to Produce take a while, and a client of it.
struct World {
    cluster: EmbeddedCluster,
    kafka: Kafka,
}

impl World {
    async fn new() -> Self {
        let cluster = EmbeddedCluster::builder().topic(TOPIC, 1).start().await.expect("the cluster starts");
        let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
        cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(Duration::from_millis(2))).times(1_000));
        Self { cluster, kafka }
    }

    async fn producer(&self, adjust: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
        let builder = self.kafka.producer().buffer_memory(MEMORY).linger(Duration::ZERO);
        adjust(builder).build().await.expect("a producer")
    }

    /// Flushes, then checks that the log has so many records and that no memory is held.
    async fn settled(&self, producer: &Producer, records: usize, polls: usize) {
        producer.flush().await.expect("nothing fails here");
        let ends = self.kafka.admin().offsets(TOPIC, OffsetSpec::Latest).await.expect("offsets");
        assert_eq!(ends, [Some(records as i64)], "dropped after {polls} polls");
        assert_eq!(producer.available_memory(), MEMORY, "dropped after {polls} polls");
    }
}

fn record(value: &str) -> Record<'_, milena::producer::Absent, milena::producer::Given<&str>> {
    Record::to(TOPIC).value(value)
}

#[tokio::test]
async fn p9_a_dropped_send_is_delivered_once_or_was_never_enqueued() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder).await;
        let ack = within(polls, producer.send(record("x"))).await;
        let enqueued = producer.available_memory() < MEMORY || producer.metrics().records_acked > 0;
        world.settled(&producer, usize::from(enqueued), polls).await;
        ack.map(|ack| assert_eq!(ack.expect("sent").offset, Some(0))).is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_enqueue_enqueued_nothing() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        // Small batches: every few records one is sealed, and the next call yields to the sender.
        let producer = world.producer(|builder| builder.batch_size(200)).await;
        producer.send(record("the topic is known")).await.expect("sent");
        let mut deliveries = Vec::new();
        for number in 0..30 {
            let value = format!("{number:040}");
            deliveries.extend(within(polls, producer.enqueue(record(&value))).await);
        }
        let (enqueued, all) = (deliveries.len() + 1, deliveries.len() == 30);
        for delivery in deliveries {
            delivery.expect("enqueued").await.expect("delivered");
        }
        world.settled(&producer, enqueued, polls).await;
        all
    })
    .await;
}

#[tokio::test]
async fn a_dropped_enqueue_that_waited_for_metadata_enqueued_nothing() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder).await;
        let delivery = within(polls, producer.enqueue(record("x"))).await;
        world.settled(&producer, usize::from(delivery.is_some()), polls).await;
        delivery.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_enqueue_that_waited_for_memory_holds_none() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder).await;
        let value = "x".repeat(MEMORY / 2 - 1_000);
        let mut deliveries = Vec::new();
        for _ in 0..2 {
            deliveries.push(producer.enqueue(record(&value)).await.expect("there is room for two"));
        }
        let third = within(polls, producer.enqueue(record(&value))).await;
        let enough = third.is_some();
        deliveries.extend(third.map(|third| third.expect("enqueued")));
        world.settled(&producer, deliveries.len(), polls).await;
        enough
    })
    .await;
}

#[tokio::test]
async fn p9_a_dropped_delivery_takes_nothing_back() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder).await;
        let delivery = producer.enqueue(record("x")).await.expect("enqueued");
        let ack = within(polls, delivery).await;
        world.settled(&producer, 1, polls).await;
        ack.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_flush_stops_no_sending() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder.linger(PATIENCE * 2).batch_size(200)).await;
        for number in 0..20 {
            let value = format!("{number:040}");
            drop(producer.enqueue(record(&value)).await.expect("enqueued"));
        }
        let flushed = within(polls, producer.flush()).await;
        flushed.iter().for_each(|flushed| assert!(flushed.is_ok()));
        world.settled(&producer, 20, polls).await;
        flushed.is_some()
    })
    .await;
}

#[tokio::test]
async fn p12_a_dropped_close_closes_and_stops_no_sending() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let producer = world.producer(|builder| builder.linger(PATIENCE * 2)).await;
        let delivery = producer.enqueue(record("x")).await.expect("enqueued");
        let closed = within(polls, producer.clone().close()).await;
        if polls > 0 {
            let refused = producer.enqueue(record("y")).await.expect_err("it is closed");
            assert_eq!(refused.kind(), ErrorKind::Closed);
            delivery.await.expect("delivered without waiting for the linger");
        }
        world.settled(&producer, 1, polls).await;
        closed.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_connect_leaves_nothing_behind() {
    let world = World::new().await;
    at_every_poll(async |polls| {
        let connected = within(polls, Kafka::connect(&world.cluster.bootstrap())).await;
        let again = Kafka::connect(&world.cluster.bootstrap()).await.expect("it is reachable");
        again.admin().topic(TOPIC).await.expect("it answers");
        connected.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_create_topic_makes_it_once_or_not_at_all() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let admin = world.kafka.admin();
        let made = within(polls, admin.create_topic(NewTopic::new("new", 3, 1))).await;
        made.iter().for_each(|made| assert!(made.is_ok()));
        if let Err(error) = admin.create_topic(NewTopic::new("new", 3, 1)).await {
            assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS), "{error}");
        }
        assert_eq!(admin.topic("new").await.expect("it is there now").leaders.len(), 3);
        made.is_some()
    })
    .await;
}

#[tokio::test]
async fn dropped_questions_of_the_admin_can_be_asked_again() {
    at_every_poll(async |polls| {
        let world = World::new().await;
        let admin = world.kafka.admin();
        let described = within(polls, admin.topic(TOPIC)).await;
        let offsets = within(polls, admin.offsets(TOPIC, OffsetSpec::Latest)).await;
        assert_eq!(admin.offsets(TOPIC, OffsetSpec::Latest).await.expect("offsets"), [Some(0)]);
        described.is_some() && offsets.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_poll_loses_and_doubles_nothing() {
    let world = World::new().await;
    let producer = world.producer(|builder| builder.batch_size(200)).await;
    for number in 0..40 {
        let value = format!("{number:040}");
        drop(producer.enqueue(record(&value)).await.expect("enqueued"));
    }
    producer.close().await.expect("closed");
    at_every_poll(async |polls| {
        let partition = TopicPartition::new(TOPIC, 0);
        let mut consumer = world.kafka.consumer().assign([(partition, StartFrom::Beginning)]).await.expect("assigned");
        let (mut next, mut dropped) = (0, 0);
        while next < 40 {
            let batch = match within(polls, consumer.poll()).await {
                Some(batch) => batch,
                None => {
                    dropped += 1;
                    consumer.poll().await
                }
            };
            for record in &batch.expect("no error").expect("a batch") {
                assert_eq!(record.offset(), next, "dropped after {polls} polls");
                next += 1;
            }
        }
        let closed = within(polls, consumer.close()).await;
        drop(consumer);
        dropped == 0 && closed.is_some()
    })
    .await;
}
