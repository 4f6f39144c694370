//! Who works on the cluster: producers and readers through the client's public API.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use milena::{
    Consumer, Kafka, Record, TopicPartition,
    consumer::{OffsetReset, StartFrom},
    producer::Producer,
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    history::{Event, Recorder, read_value, value_of},
    plan::{Placing, ProducerPlan, ReaderPlan},
};

pub const TOPIC: &str = "t";

/// Enqueues all its records in bursts, and waits until each is settled.
pub async fn produce(kafka: Kafka, number: u16, plan: ProducerPlan, partitions: i32, recorder: Recorder) {
    let producer = kafka
        .producer()
        .linger(plan.linger)
        .batch_size(plan.batch_size)
        .max_in_flight(plan.max_in_flight)
        .buffer_memory(plan.memory)
        .compression(plan.compression)
        .delivery_timeout(plan.delivery_timeout)
        .max_block(Duration::from_secs(1800))
        .build()
        .await
        .expect("the settings are sound");
    let mut open = JoinSet::new();
    for at in 0..plan.records {
        enqueue(&producer, number, at, &plan, partitions, &recorder, &mut open).await;
        if at % plan.burst == plan.burst - 1 {
            sleep(plan.pause).await;
        }
    }
    // What failed is told by the deliveries.
    let _ = producer.flush().await;
    while open.join_next().await.is_some() {}
    recorder.note(Event::Emptied { producer: number, held: plan.memory - producer.available_memory() });
    let _ = producer.close().await;
}

async fn enqueue(
    producer: &Producer,
    number: u16,
    at: u32,
    plan: &ProducerPlan,
    partitions: i32,
    recorder: &Recorder,
    open: &mut JoinSet<()>,
) {
    let (id, value, key) = ((number, at), value_of((number, at), plan.length), (at % plan.keys).to_string());
    let record = Record::to(TOPIC).value(&value);
    let enqueued = match plan.placing {
        Placing::Turns => producer.enqueue(record).await,
        Placing::Keys => producer.enqueue(record.key(&key)).await,
        Placing::Named => producer.enqueue(record.partition((at % plan.keys) as i32 % partitions)).await,
    };
    let delivery = match enqueued {
        Ok(delivery) => delivery,
        Err(error) => return recorder.note(Event::Refused { record: id, error: error.to_string() }),
    };
    let partition = delivery.partition();
    recorder.note(Event::Enqueued { record: id, partition });
    let recorder = recorder.clone();
    open.spawn(async move {
        recorder.note(match delivery.await {
            Ok(ack) => Event::Acked { record: id, partition: ack.partition, offset: ack.offset },
            Err(error) => Event::Failed { record: id, maybe_written: error.maybe_written(), error: error.to_string() },
        });
    });
}

/// Reads all partitions, restlessly if told to, until it has reached the ends that it is told in the end.
pub async fn read(
    kafka: Kafka,
    number: u16,
    plan: ReaderPlan,
    partitions: i32,
    mut ends: watch::Receiver<Option<BTreeMap<i32, i64>>>,
    recorder: Recorder,
) {
    sleep(plan.starts_at).await;
    let all = (0..partitions).map(|partition| (TopicPartition::new(TOPIC, partition), StartFrom::Offset(0)));
    let assigned = kafka
        .consumer()
        .isolation(plan.isolation)
        .offset_reset(OffsetReset::None)
        .partition_max_bytes(plan.partition_max_bytes)
        .api_timeout(Duration::from_secs(1800))
        .assign(all)
        .await;
    let consumer = match assigned {
        Ok(consumer) => consumer,
        Err(error) => return recorder.note(Event::Troubled { reader: number, error: error.to_string() }),
    };
    let rng = Rng::with_seed(fastrand::u64(..));
    let mut reader = Reader { consumer, number, next: vec![0; partitions as usize], rng, recorder };
    while !reader.is_through(&mut ends) {
        reader.poll().await;
        let count = ends.borrow().as_ref().map_or(0, BTreeMap::len);
        if count > reader.next.len() {
            reader.grow(count).await;
        }
        let is_last_stretch = ends.borrow().is_some();
        if plan.restlessness > 0 && reader.rng.u32(..plan.restlessness) == 0 && !is_last_stretch {
            reader.stir();
        } else if is_last_stretch {
            (0..partitions).for_each(|partition| reader.resume(partition));
        }
    }
    let _ = reader.consumer.close().await;
}

struct Reader {
    consumer: Consumer,
    number: u16,
    /// Where reading goes on, by partition.
    next: Vec<i64>,
    rng: Rng,
    recorder: Recorder,
}

impl Reader {
    fn is_through(&self, ends: &mut watch::Receiver<Option<BTreeMap<i32, i64>>>) -> bool {
        let ends = ends.borrow();
        let is_read = |partition: i32, end: i64| {
            self.consumer.position(&TopicPartition::new(TOPIC, partition)).is_some_and(|position| position >= end)
        };
        ends.as_ref().is_some_and(|ends| ends.iter().all(|(partition, end)| is_read(*partition, *end)))
    }

    /// Reads what came later as well.
    async fn grow(&mut self, count: usize) {
        let all = (0..count).map(|partition| (TopicPartition::new(TOPIC, partition as i32), StartFrom::Offset(0)));
        match self.consumer.assign(all).await {
            Ok(()) => self.next.resize(count, 0),
            Err(error) => self.recorder.note(Event::Troubled { reader: self.number, error: error.to_string() }),
        }
    }

    async fn poll(&mut self) {
        match self.consumer.poll_for(Duration::from_millis(300)).await {
            Ok(None) => {}
            Ok(Some(batch)) => {
                let (reader, partition) = (self.number, batch.partition());
                for record in &batch {
                    let (offset, value) = (record.offset(), read_value(record.value()));
                    self.recorder.note(Event::Delivered { reader, partition, offset, value });
                }
                self.next[partition as usize] = batch.next_offset();
            }
            Err(error) => {
                self.recorder.note(Event::Troubled { reader: self.number, error: error.to_string() });
                // Whatever halted goes on where it was; the others stay where they are.
                (0..self.next.len()).for_each(|partition| self.seek(partition, self.next[partition]));
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Does what a restless program does between two polls.
    fn stir(&mut self) {
        let partition = self.rng.usize(..self.next.len());
        match self.rng.u8(..4) {
            0 => drop(self.consumer.pause(&TopicPartition::new(TOPIC, partition as i32))),
            1 => self.resume(partition as i32),
            _ => {
                let to = self.rng.i64(0..=self.next[partition]);
                self.seek(partition, to);
            }
        }
    }

    fn seek(&mut self, partition: usize, to: i64) {
        let name = TopicPartition::new(TOPIC, partition as i32);
        self.consumer.seek(&name, StartFrom::Offset(to)).expect("it is assigned");
        self.next[partition] = to;
        self.recorder.note(Event::Sought { reader: self.number, partition: partition as i32, to });
    }

    fn resume(&mut self, partition: i32) {
        self.consumer.resume(&TopicPartition::new(TOPIC, partition)).expect("it is assigned");
    }
}
