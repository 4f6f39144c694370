//! Who writes and who reads while the cluster breaks, both through the relay.
//!
//! Rules this file keeps:
//! - every record has a fate: acknowledged at a place, failed, or counted as unresolved;
//! - an error that passes is not the reader's end, and a record out of its order is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use milena::{
    Consumer, Kafka, Record, Result, TopicPartition,
    consumer::{IsolationLevel, StartFrom},
    producer::{Acks, Delivery, Producer},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Producing,
    judge::{Place, Told},
    transactions::Transacting,
};
use crate::PATIENCE;

/// Numbers being written, a thousand in a second.
#[derive(Debug)]
pub struct Writing {
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    task: JoinHandle<Result<Told>>,
}

impl Writing {
    /// Begins.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub async fn start(kafka: &Kafka, topic: &str, producing: Producing) -> Result<Self> {
        let (stop, abandon) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let builder = kafka.producer().linger(Duration::from_millis(5));
        let producer = match producing {
            Producing::Idempotent => builder.build().await?,
            Producing::Reckless => builder.acks(Acks::None).idempotence(false).build().await?,
            Producing::Transactional => {
                let task = Transacting::new(kafka, topic, stop.clone(), abandon.clone()).run();
                return Ok(Self { stop, abandon, task: tokio::spawn(task) });
            }
        };
        let task = tokio::spawn(write(producer, topic.to_owned(), stop.clone()));
        Ok(Self { stop, abandon, task })
    }

    /// The producer of transactions is to be left alone with one open, and another to take its place.
    pub fn abandon(&self) {
        self.abandon.store(true, Ordering::Relaxed);
    }

    /// Ends when every record is acknowledged or failed.
    ///
    /// # Errors
    /// When the producer refused a record for good.
    pub async fn finish(self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the writer does not panic")
    }
}

/// What is known so far, and when that became longer last.
#[derive(Debug, Default)]
struct Fates {
    told: Told,
    last: Option<Instant>,
}

async fn write(producer: Producer, topic: String, stop: Arc<AtomicBool>) -> Result<Told> {
    let (fates, mut waiting) = (Arc::new(Mutex::new(Fates::default())), JoinSet::new());
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let (key, value) = ((number % KEYS).to_string(), number.to_string());
        let delivery = producer.enqueue(Record::to(&topic).key(key.as_str()).value(value.as_str())).await?;
        waiting.spawn(fate(number, delivery, fates.clone()));
        number += 1;
        while waiting.try_join_next().is_some() {}
    }
    producer.close().await.ok();
    while waiting.join_next().await.is_some() {}
    let mut fates = fates.lock().expect("nobody panicked");
    fates.told.sent = number;
    Ok(std::mem::take(&mut fates.told))
}

async fn fate(number: u64, delivery: Delivery, fates: Arc<Mutex<Fates>>) {
    let told = delivery.await;
    let mut fates = fates.lock().expect("nobody panicked");
    match told {
        Ok(ack) => {
            let now = Instant::now();
            if let Some(last) = fates.last.replace(now) {
                fates.told.stall_max = fates.told.stall_max.max(now - last);
            }
            fates.told.acked.insert(number, (ack.partition, ack.offset.unwrap_or(-1)));
        }
        Err(_) => drop(fates.told.failed.insert(number)),
    }
}

/// The topic being read from its beginning, in all its partitions.
#[derive(Debug)]
pub struct Reading {
    partitions: watch::Sender<i32>,
    end: watch::Sender<Option<BTreeMap<i32, i64>>>,
    task: JoinHandle<Result<BTreeMap<Place, u64>>>,
}

impl Reading {
    /// Begins with so many partitions.
    ///
    /// # Errors
    /// When the topic is not there.
    pub async fn start(kafka: &Kafka, topic: &str, count: i32) -> Result<Self> {
        let (partitions, grown) = watch::channel(count);
        let (end, asked) = watch::channel(None);
        // Without transactions all that is read is committed.
        let consumer = kafka.consumer().isolation(IsolationLevel::ReadCommitted);
        let consumer = consumer.assign(assignment(topic, count)).await?;
        let task = tokio::spawn(read(kafka.clone(), consumer, topic.to_owned(), grown, asked));
        Ok(Self { partitions, end, task })
    }

    /// The topic has more partitions now.
    pub fn grown(&self, count: i32) {
        self.partitions.send_replace(count);
    }

    /// Everything that was read as far as `log` goes, once that is reached.
    ///
    /// # Errors
    /// When it does not come, or an error does not pass.
    ///
    /// # Panics
    /// When a partition's records came out of order, or one came twice.
    pub async fn finish(self, log: &BTreeMap<Place, u64>) -> Result<BTreeMap<Place, u64>> {
        let ends: BTreeMap<i32, i64> = log.keys().copied().collect();
        self.end.send_replace(Some(ends.clone()));
        let read = timeout(PATIENCE, self.task).await.expect("the reader gets to the end");
        let mut read = read.expect("the reader does not panic")?;
        // With acks=0 the last records arrive when nobody waits any more.
        read.retain(|(partition, offset), _| ends.get(partition) >= Some(offset));
        Ok(read)
    }
}

async fn read(
    kafka: Kafka,
    mut consumer: Consumer,
    topic: String,
    mut grown: watch::Receiver<i32>,
    mut end: watch::Receiver<Option<BTreeMap<i32, i64>>>,
) -> Result<BTreeMap<Place, u64>> {
    let (mut log, mut last): (_, BTreeMap<i32, i64>) = (BTreeMap::new(), BTreeMap::new());
    loop {
        if end
            .borrow()
            .as_ref()
            .is_some_and(|ends| ends.iter().all(|(partition, end)| last.get(partition) >= Some(end)))
        {
            return Ok(log);
        }
        let batch = tokio::select! {
            biased;
            Ok(()) = grown.changed() => {
                let count = *grown.borrow_and_update();
                // Asking makes this client hear of them; it may ask a broker that has not heard either.
                while kafka.admin().topic(&topic).await?.leaders.len() < count as usize {
                    sleep(Duration::from_millis(100)).await;
                }
                consumer.assign(assignment(&topic, count)).await?;
                continue;
            }
            Ok(()) = end.changed() => continue,
            batch = consumer.poll() => batch,
        };
        let batch = match batch {
            Ok(batch) => batch.expect("the consumer is open"),
            Err(error) if error.is_retriable() => continue,
            Err(error) => return Err(error),
        };
        for record in &batch {
            let place = (batch.partition(), record.offset());
            let before = last.insert(place.0, place.1);
            assert!(before < Some(place.1), "{place:?} was handed out after {before:?}");
            let value = std::str::from_utf8(record.value().unwrap_or_default()).ok().and_then(|text| text.parse().ok());
            log.insert(place, value.expect("only numbers are written"));
        }
    }
}

fn assignment(topic: &str, count: i32) -> impl Iterator<Item = (TopicPartition, StartFrom)> {
    (0..count).map(move |partition| (TopicPartition::new(topic, partition), StartFrom::Beginning))
}

/// As many keys as the numbers have.
pub(super) const KEYS: u64 = 50;
