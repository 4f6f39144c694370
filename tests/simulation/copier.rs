//! Consume, process, produce: what is read of one topic is written to another, and how far it was read is committed in the
//! same transaction. Several instances share a transactional id; each that begins fences those before it.

use std::collections::BTreeMap;

use milena::{
    Consumer, ErrorCode, Kafka, Record, TopicPartition,
    consumer::{Batch, IsolationLevel, OffsetReset, StartFrom},
    producer::{Transaction, TransactionError, TransactionalProducer},
    types::ConsumerGroupMetadata,
    wire::messages::{OffsetFetchRequest, OffsetFetchRequestTopic},
};
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::{
    actors::TOPIC,
    history::{Event, Recorder},
    plan::{CopierPlan, TransactionPlan},
    writer::{PAUSE, Told, open, outcome},
};

type Ends = watch::Receiver<Option<BTreeMap<i32, i64>>>;

pub const COPIES: &str = "copies";
pub const COPIER: &str = "copier";

/// One instance. One that is fenced stays away, but for the last, which sees it through.
pub async fn copy(kafka: Kafka, instance: u16, plan: CopierPlan, partitions: i32, ends: Ends, recorder: Recorder) {
    sleep(plan.instances[instance as usize]).await;
    let is_last = instance as usize + 1 == plan.instances.len();
    let mut copier = Copier { kafka, instance, plan, partitions, ends, recorder };
    while copier.live().await == Life::Fenced && is_last {}
}

#[derive(Debug, PartialEq, Eq)]
enum Life {
    Done,
    Fenced,
}

/// How a step of the work ended.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// What was read is copied.
    Copied,
    /// It is not; it has to be read again.
    Again,
    Fenced,
}

struct Copier {
    kafka: Kafka,
    instance: u16,
    plan: CopierPlan,
    partitions: i32,
    ends: Ends,
    recorder: Recorder,
}

impl Copier {
    /// Works with one producer until that is fenced, or all is copied.
    async fn live(&mut self) -> Life {
        let settings: &TransactionPlan = &self.plan.settings;
        let mut producer = open(&self.kafka, COPIER, settings).await;
        loop {
            // After the producer's identity: nobody can commit any more what is not seen here.
            let Some(committed) = self.committed().await else {
                sleep(PAUSE).await;
                continue;
            };
            let all = (0..self.partitions).map(|partition| {
                let offset = committed.get(&partition).copied().unwrap_or(0);
                (TopicPartition::new(TOPIC, partition), StartFrom::Offset(offset))
            });
            let builder = self.kafka.consumer().isolation(IsolationLevel::ReadCommitted);
            let Ok(mut consumer) = builder.offset_reset(OffsetReset::None).assign(all).await else {
                sleep(PAUSE).await;
                continue;
            };
            loop {
                if self.is_through(&consumer) {
                    let _ = producer.close().await;
                    return Life::Done;
                }
                match consumer.poll_for(Duration::from_millis(300)).await {
                    Ok(None) => {}
                    Ok(Some(batch)) => match self.copy(&mut producer, batch, &mut consumer).await {
                        Step::Copied => {}
                        Step::Again => break,
                        Step::Fenced => return Life::Fenced,
                    },
                    Err(_) => {
                        sleep(PAUSE).await;
                        break;
                    }
                }
            }
        }
    }

    fn is_through(&self, consumer: &Consumer) -> bool {
        let is_read = |partition: i32, end: i64| {
            let position = consumer.position(&TopicPartition::new(TOPIC, partition));
            partition >= self.partitions || position.is_some_and(|position| position >= end)
        };
        self.ends.borrow().as_ref().is_some_and(|ends| ends.iter().all(|(partition, end)| is_read(*partition, *end)))
    }

    /// Copies a batch, or a few, in one transaction.
    async fn copy(&self, producer: &mut TransactionalProducer, batch: Batch, consumer: &mut Consumer) -> Step {
        let mut batches = vec![batch];
        while batches.len() < self.plan.batches {
            match consumer.poll_for(Duration::from_millis(5)).await {
                Ok(Some(batch)) => batches.push(batch),
                _ => break,
            }
        }
        let told = loop {
            match producer.begin().await {
                Ok(transaction) => {
                    sleep(self.plan.pause).await;
                    break match fill(&transaction, &batches).await {
                        Ok(()) => Told::of_commit(transaction.commit().await),
                        Err(TransactionError::Fatal(_)) => Told::Dead(None),
                        // Dropped, it is aborted.
                        Err(_) => Told::Known(false),
                    };
                }
                Err(TransactionError::Fatal(_)) => break Told::Dead(None),
                Err(_) => sleep(PAUSE).await,
            }
        };
        let records = batches.iter().map(Batch::len).sum();
        let (instance, known) = (self.instance, matches!(told, Told::Known(_)));
        self.recorder.note(Event::Copied { instance, records, known });
        match told {
            Told::Known(true) => Step::Copied,
            Told::Known(false) => Step::Again,
            Told::Dead(_) => Step::Fenced,
            Told::Open => match outcome(producer).await {
                Some(true) => Step::Copied,
                Some(false) => Step::Again,
                None => Step::Fenced,
            },
        }
    }

    /// How far the group's transactions have got, once none of them is open.
    async fn committed(&self) -> Option<BTreeMap<i32, i64>> {
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: (0..self.partitions).collect() };
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![topic]),
            require_stable: true,
            ..Default::default()
        };
        let answer = self.kafka.request(request).at_most(7).coordinator_of_group(GROUP).fresh().await.ok()?;
        let parts: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let is_sound =
            answer.error_code == ErrorCode::NONE && parts.iter().all(|part| part.error_code == ErrorCode::NONE);
        is_sound.then(|| parts.iter().map(|part| (part.partition_index, part.committed_offset.max(0))).collect())
    }
}

async fn fill(transaction: &Transaction<'_>, batches: &[Batch]) -> Result<(), TransactionError> {
    for batch in batches {
        for record in batch {
            let copy = Record::to(COPIES).partition(batch.partition()).value_or_null(record.value());
            transaction.enqueue(copy).await?.detach();
        }
        let next = (TopicPartition::new(TOPIC, batch.partition()), batch.next_offset());
        transaction.send_offsets(&ConsumerGroupMetadata::new(GROUP), [next]).await?;
    }
    Ok(())
}

pub const GROUP: &str = "copiers";
