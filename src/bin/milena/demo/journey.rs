//! The way of the records: made, serialized, produced; and at the same time consumed, deserialized, compared.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use milena::{
    Kafka, Record, TopicPartition,
    admin::OffsetSpec,
    consumer::{Batch, Consumer, Ends, StartFrom, Typed},
    producer::{Delivery, Producer},
    registry::Avro,
    serdes::{Bytes, Utf8},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    check::{Bits, Check},
    progress::Progress,
    report::Counts,
    result::{Plan, VqeResult},
};
use crate::failure::{Failure, chain, plural, say};

type ResultProducer = Producer<Utf8, Avro<VqeResult>>;
type ResultConsumer = Consumer<Bytes, Typed<Avro<VqeResult>>>;

/// A producer and a consumer that are ready to start.
pub(crate) struct Journey {
    plan: Arc<Plan>,
    topic: String,
    producer: ResultProducer,
    consumer: ResultConsumer,
    partitions: usize,
}

impl Journey {
    /// The consumer begins where the partitions end now: what the topic held before is not looked at.
    pub(crate) async fn prepare(
        kafka: &Kafka,
        avro: Avro<VqeResult>,
        topic: String,
        plan: Plan,
    ) -> Result<Self, Failure> {
        let ends = kafka.admin().offsets(&topic, OffsetSpec::Latest).await?;
        let partitions = ends.len();
        let start = |(index, end): (usize, Option<i64>)| {
            let start = end.map_or(StartFrom::Beginning, StartFrom::Offset);
            (TopicPartition::new(topic.as_str(), index as i32), start)
        };
        let starts: Vec<_> = ends.into_iter().enumerate().map(start).collect();
        let consumer = kafka.consumer().value(avro.clone()).assign(starts).await?;
        let producer = kafka.producer().key(Utf8).value(avro).build().await?;
        Ok(Self { plan: Arc::new(plan), topic, producer, consumer, partitions })
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Produces and consumes everything, and counts.
    ///
    /// # Cancel safety
    /// Dropping the future ends producing and consuming.
    pub(crate) async fn run(self, visible: bool) -> Result<Counts, Failure> {
        let Self { plan, topic, producer, consumer, .. } = self;
        let progress = Progress::new(plan.records, visible);
        let (finished, ends_wanted) = oneshot::channel();
        let mut reading = Task::spawn(consume(consumer, Check::new((*plan).clone()), ends_wanted, progress.clone()));
        let (deliveries, waiting) = mpsc::channel(WAITING_CHUNKS);
        let tallying = Task::spawn(tally(waiting, plan.records, progress.clone()));
        let metrics = producer.clone();
        let producing = Task::spawn(produce(producer, topic, plan.clone(), deliveries));
        // Who cannot read need not write to the end.
        let produced = tokio::select! {
            produced = producing => produced?,
            read = &mut reading => return Err(read?.err().unwrap_or_else(|| Failure::error("reading ended too early"))),
        };
        let acknowledged = tallying.await?;
        let _ = finished.send(());
        let check = reading.await??;
        progress.finish();
        produced?;
        let metrics = metrics.metrics();
        Ok(Counts {
            records: plan.records,
            acked: acknowledged.count(),
            consumed: check.consumed,
            lost: check.lost(&acknowledged),
            duplicated: check.duplicated,
            reordered: check.reordered,
            unequal: check.unequal,
            wire_bytes: metrics.wire_bytes,
            raw_bytes: metrics.raw_bytes,
        })
    }
}

/// A task that ends with its handle.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = |error| Failure::error(format!("a task of the demo ended early: {error}"));
        Pin::new(&mut self.0).poll(cx).map(|done| done.map_err(ended))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Record numbers from the first on, and their deliveries.
type Chunk = (u64, Vec<Delivery>);

async fn produce(
    producer: ResultProducer,
    topic: String,
    plan: Arc<Plan>,
    deliveries: mpsc::Sender<Chunk>,
) -> Result<(), Failure> {
    let mut n = 0;
    while n < plan.records {
        let first = n;
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        while n < plan.records && n < first + CHUNK {
            let record = Record::to(&topic).key(plan.key(n)).value(plan.result(n));
            chunk.push(producer.enqueue(record).await?);
            n += 1;
        }
        // The tally ends only after this sender.
        let _ = deliveries.send((first, chunk)).await;
    }
    // A record that failed is counted by the tally.
    let _ = producer.close().await;
    Ok(())
}

/// Which records were acknowledged.
async fn tally(mut waiting: mpsc::Receiver<Chunk>, records: u64, progress: Progress) -> Bits {
    let mut acknowledged = Bits::new(records);
    let (mut count, mut failed) = (0, 0);
    while let Some((first, chunk)) = waiting.recv().await {
        for (n, delivery) in (first..).zip(chunk) {
            match delivery.await {
                Ok(_) => {
                    acknowledged.set(n);
                    count += 1;
                }
                Err(error) => {
                    failed += 1;
                    if failed <= MAX_SAID {
                        say(&format!("record {n} failed: {}", chain(&error)));
                    }
                }
            }
        }
        progress.acknowledged(count);
    }
    if failed > MAX_SAID {
        say(&format!("{} more failed", plural(failed - MAX_SAID, "record")));
    }
    acknowledged
}

/// Reads until the producer has finished and the ends that the partitions have then are reached.
async fn consume(
    mut consumer: ResultConsumer,
    mut check: Check,
    mut finished: oneshot::Receiver<()>,
    progress: Progress,
) -> Result<Check, Failure> {
    loop {
        let batch = tokio::select! {
            batch = consumer.poll() => batch?,
            _ = &mut finished => break,
        };
        let Some(batch) = batch else { break };
        compare(&batch, &mut check);
        progress.consumed(check.consumed);
    }
    let ends = consumer.ends().await?;
    while let Some(batch) = next(&mut consumer, &ends).await? {
        compare(&batch, &mut check);
        progress.consumed(check.consumed);
    }
    Ok(check)
}

async fn next(
    consumer: &mut ResultConsumer,
    ends: &Ends,
) -> Result<Option<Batch<Bytes, Typed<Avro<VqeResult>>>>, Failure> {
    match timeout(PATIENCE, consumer.poll_to(ends)).await {
        Ok(batch) => Ok(batch?),
        Err(_) => {
            say(&format!("nothing came back for {} s although the partitions have more", PATIENCE.as_secs()));
            Ok(None)
        }
    }
}

fn compare(batch: &Batch<Bytes, Typed<Avro<VqeResult>>>, check: &mut Check) {
    for record in batch {
        let key = record.key().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        // Records of others in the same topic need not even be Avro.
        if check.is_ours(key) {
            check.record(key, record.value().ok().as_ref());
        }
    }
}

/// How many deliveries go to the tally at once.
const CHUNK: u64 = 512;

/// How many such chunks may wait.
const WAITING_CHUNKS: usize = 256;

/// How long the consumer waits for records that must be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many failures are described; the rest is only counted.
const MAX_SAID: u64 = 5;
