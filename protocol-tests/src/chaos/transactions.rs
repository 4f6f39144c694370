//! Who writes in transactions while the cluster breaks: a copier whose input is the numbers from 0.
//!
//! Rules this file keeps:
//! - where it goes on, after anything but a commit, is what its group has committed, as if it had just been started;
//! - a number is acknowledged when the commit of its transaction, or the question what became of it, says so;
//! - a producer dies for one reason only: another took its place.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use milena::{
    ConsumerGroupMetadata, Error, ErrorCode, ErrorKind, Kafka, Record, Result, TopicPartition, TransactionalProducer,
    producer::{CommitError, Delivery, Outcome, Transaction, TransactionError},
    wire::messages::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse},
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep},
};

use super::{judge::Told, workload::KEYS};

/// The transactional id of the writer of a topic, which is its group's name too.
pub(super) fn id_of(topic: &str) -> String {
    format!("{topic}-writer")
}

/// The writer.
pub(super) struct Transacting {
    kafka: Kafka,
    topic: String,
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    told: Told,
    last: Option<Instant>,
    next: u64,
    begun: u64,
    pace: Interval,
    /// Producers that were left alone: whether each was told, at last, that it had committed.
    abandoned: JoinSet<bool>,
}

impl Transacting {
    pub(super) fn new(kafka: &Kafka, topic: &str, stop: Arc<AtomicBool>, abandon: Arc<AtomicBool>) -> Self {
        let mut pace = interval(Duration::from_millis(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (kafka, topic) = (kafka.clone(), topic.to_owned());
        let (told, last, next, begun, abandoned) = Default::default();
        Self { kafka, topic, stop, abandon, told, last, next, begun, pace, abandoned }
    }

    pub(super) async fn run(mut self) -> Result<Told> {
        let mut producer = self.producer().await?;
        while !self.stop.load(Ordering::Relaxed) {
            if self.abandon.swap(false, Ordering::Relaxed) {
                producer = self.replace(producer).await?;
            }
            self.transaction(&mut producer).await?;
        }
        producer.close().await?;
        while let Some(committed) = self.abandoned.join_next().await {
            assert!(!committed.expect("it does not panic"), "a producer was told that it committed, but it was fenced");
        }
        self.told.sent = self.committed().await?;
        Ok(self.told)
    }

    async fn producer(&self) -> Result<TransactionalProducer> {
        loop {
            let builder = self.kafka.producer().linger(Duration::from_millis(5)).batch_size(SMALL_BATCH);
            match builder.transactional(id_of(&self.topic)).await {
                Err(error) if error.is_retriable() => sleep(PAUSE).await,
                made => return made,
            }
        }
    }

    /// Leaves a producer alone with a transaction that is written, but not committed before its successor is there.
    async fn replace(&mut self, mut old: TransactionalProducer) -> Result<TransactionalProducer> {
        let ((written, is_written), (replaced, is_replaced)) = (oneshot::channel(), oneshot::channel());
        let (topic, numbers) = (self.topic.clone(), self.numbers());
        self.abandoned.spawn(async move {
            let Ok(transaction) = old.begin().await else { return false };
            for number in numbers.clone() {
                let _ = transaction.send(Record::to(&topic).value(&*number.to_string())).await;
            }
            let _ = go_on_behind(&transaction, &topic, numbers.end).await;
            let _ = written.send(());
            let _ = is_replaced.await;
            transaction.commit().await.is_ok()
        });
        let _ = is_written.await;
        let new = self.producer().await?;
        let _ = replaced.send(());
        self.next = self.committed().await?;
        Ok(new)
    }

    fn numbers(&self) -> Range<u64> {
        self.next..self.next + SIZE
    }

    /// Writes the next numbers, and commits them or not.
    async fn transaction(&mut self, producer: &mut TransactionalProducer) -> Result<()> {
        let (numbers, mut sent) = (self.numbers(), Vec::new());
        self.begun += 1;
        let told = {
            let transaction = match producer.begin().await {
                Ok(transaction) => transaction,
                Err(why) => return unless_fatal(why),
            };
            match self.write(&transaction, numbers.clone(), &mut sent).await {
                Ok(()) if !self.begun.is_multiple_of(ABORTED) => match transaction.commit().await {
                    Ok(()) => Some(Outcome::Committed),
                    Err(CommitError::Aborted(_)) => Some(Outcome::Aborted),
                    Err(CommitError::Unknown(_)) => None,
                    Err(CommitError::Fatal(why)) => return Err(why.into()),
                },
                written => {
                    written.or_else(unless_fatal)?;
                    transaction.abort().await.or_else(unless_fatal)?;
                    Some(Outcome::Aborted)
                }
            }
        };
        // Also when it was told: an abort without an answer is still to be done.
        let found = outcome(producer).await?;
        match told.or(found) {
            Some(Outcome::Committed) => {
                self.acknowledge(sent).await;
                self.next = numbers.end;
            }
            _ => self.next = self.committed().await?,
        }
        Ok(())
    }

    async fn write(
        &mut self,
        transaction: &Transaction<'_>,
        numbers: Range<u64>,
        sent: &mut Vec<(u64, Delivery)>,
    ) -> Result<(), TransactionError> {
        for number in numbers.clone() {
            self.pace.tick().await;
            let (key, value) = ((number % KEYS).to_string(), number.to_string());
            let record = Record::to(&self.topic).key(key.as_str()).value(value.as_str());
            sent.push((number, transaction.enqueue(record).await?));
        }
        go_on_behind(transaction, &self.topic, numbers.end).await
    }

    async fn acknowledge(&mut self, sent: Vec<(u64, Delivery)>) {
        for (number, delivery) in sent {
            // A record that was not written has no place in a committed transaction: it stays unresolved.
            if let Ok(ack) = delivery.await {
                self.told.acked.insert(number, (ack.partition, ack.offset.unwrap_or(-1)));
            }
        }
        let now = Instant::now();
        let stall = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        self.told.stall_max = self.told.stall_max.max(stall);
    }

    /// The number behind the last one that is committed, once no transaction is open.
    async fn committed(&self) -> Result<u64> {
        let group = id_of(&self.topic);
        let name = self.topic.as_str().into();
        let topic = OffsetFetchRequestTopics { name, partition_indexes: vec![0], ..Default::default() };
        let of =
            OffsetFetchRequestGroup { group_id: (&*group).into(), topics: Some(vec![topic]), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![of], require_stable: true, ..Default::default() };
        loop {
            let call = self.kafka.request(request.clone()).at_most(9).coordinator_of_group(&*group);
            match call.elsewhere(|answer| told_offset(answer).err().unwrap_or(ErrorCode::NONE)).await {
                Ok(answer) => match told_offset(&answer) {
                    Ok(offset) => return Ok(u64::try_from(offset).unwrap_or(0)),
                    Err(code) if code.is_retriable() => {}
                    Err(code) => return Err(Error::new(ErrorKind::Broker(code), "the writer's offset")),
                },
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error),
            }
            sleep(PAUSE).await;
        }
    }
}

/// Waits until it is known what became of the last transaction.
async fn outcome(producer: &mut TransactionalProducer) -> Result<Option<Outcome>> {
    loop {
        match producer.outcome().await {
            Ok(outcome) => return Ok(outcome),
            Err(why) => unless_fatal(why)?,
        }
    }
}

async fn go_on_behind(transaction: &Transaction<'_>, topic: &str, next: u64) -> Result<(), TransactionError> {
    let group = ConsumerGroupMetadata::new(&*id_of(topic));
    transaction.send_offsets(&group, [(TopicPartition::new(topic, 0), next as i64)]).await
}

fn unless_fatal(why: TransactionError) -> Result<()> {
    match why {
        TransactionError::Fatal(why) => Err(why.into()),
        TransactionError::Refused(_) | TransactionError::Abortable(_) => Ok(()),
    }
}

fn told_offset(answer: &OffsetFetchResponse) -> Result<i64, ErrorCode> {
    let group = answer.groups.first().ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let partition = group.topics.first().and_then(|topic| topic.partitions.first());
    let code = partition.map_or(ErrorCode::NONE, |partition| partition.error_code);
    match (group.error_code, code) {
        (ErrorCode::NONE, ErrorCode::NONE) => Ok(partition.map_or(-1, |partition| partition.committed_offset)),
        (ErrorCode::NONE, code) | (code, _) => Err(code),
    }
}

/// Numbers in a transaction.
const SIZE: u64 = 50;
/// One transaction in so many is aborted on purpose, when all of it is written.
const ABORTED: u64 = 5;
/// Several batches of a transaction to a partition, and several in flight.
const SMALL_BATCH: usize = 256;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
