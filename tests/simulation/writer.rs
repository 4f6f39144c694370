//! Transactional writers, through the public API: most transactions are committed, others aborted or dropped, and now and
//! then somebody stops waiting for a commit.

use std::time::Duration;

use fastrand::Rng;
use milena::{
    Kafka, Record,
    producer::{CommitError, Outcome, Transaction, TransactionError, TransactionalProducer},
};
use tokio::time::{sleep, timeout};

use super::{
    actors::TOPIC,
    history::{Event, Id, Recorder, value_of},
    plan::{TransactionPlan, WriterPlan},
};

/// Writes transactions until there are as many as planned.
pub async fn write(kafka: Kafka, number: u16, plan: WriterPlan, partitions: i32, recorder: Recorder) {
    let id = name_of(number);
    let rng = Rng::with_seed(fastrand::u64(..));
    let mut writer = Writer { number, plan, partitions, recorder, rng, next: 0 };
    let mut producer = open(&kafka, &id, &writer.plan.settings).await;
    let mut left = writer.plan.transactions;
    while left > 0 {
        let ended = match producer.begin().await {
            Ok(transaction) => {
                let (records, wish) = writer.fill(&transaction).await;
                Ok((records, wish, writer.end(transaction, wish).await))
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok((records, wish, told)) => {
                let committed = match told {
                    Told::Known(committed) => Some(committed),
                    Told::Dead(committed) => committed,
                    Told::Open if writer.plan.settings.is_harsh && writer.rng.bool() => None,
                    Told::Open => outcome(&mut producer).await,
                };
                writer.recorder.note(Event::Ended { writer: number, records, wish, committed });
                left -= 1;
                sleep(writer.plan.pause).await;
            }
            Err(TransactionError::Fatal(why)) => {
                writer.recorder.note(Event::Fault(format!("{id} is dead: {why}")));
                producer = open(&kafka, &id, &writer.plan.settings).await;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    writer.leave(&kafka, producer).await;
}

/// A producer of this id, however often it has to be asked for.
pub async fn open(kafka: &Kafka, id: &str, settings: &TransactionPlan) -> TransactionalProducer {
    loop {
        let builder = kafka.producer().linger(settings.linger).batch_size(settings.batch_size);
        let builder = builder.buffer_memory(MEMORY).delivery_timeout(settings.delivery_timeout);
        let builder = builder.max_block(settings.max_block).transaction_timeout(settings.timeout);
        match builder.transactional(id).await {
            Ok(producer) => return producer,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// What became of the last transaction, asked until it is known or never will be.
pub async fn outcome(producer: &mut TransactionalProducer) -> Option<bool> {
    loop {
        match producer.outcome().await {
            Ok(outcome) => return outcome.map(|outcome| outcome == Outcome::Committed),
            Err(TransactionError::Fatal(why)) => return why.outcome().map(|outcome| outcome == Outcome::Committed),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// What the end of a transaction told.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    Known(bool),
    /// The producer is dead, and this is what it knows of the transaction.
    Dead(Option<bool>),
    /// It is not known yet.
    Open,
}

impl Told {
    pub fn of_commit(told: Result<(), CommitError>) -> Self {
        match told {
            Ok(()) => Self::Known(true),
            Err(CommitError::Aborted(_)) => Self::Known(false),
            Err(CommitError::Unknown(_)) => Self::Open,
            Err(CommitError::Fatal(why)) => Self::Dead(why.outcome().map(|outcome| outcome == Outcome::Committed)),
        }
    }
}

struct Writer {
    number: u16,
    plan: WriterPlan,
    partitions: i32,
    recorder: Recorder,
    rng: Rng,
    next: u32,
}

impl Writer {
    /// Puts records into a transaction. Returns which, and whether it should be committed.
    async fn fill(&mut self, transaction: &Transaction<'_>) -> (Vec<Id>, bool) {
        let mut records = Vec::new();
        for _ in 0..self.rng.u32(1..=self.plan.records) {
            let (record, partition) = ((self.number, self.next), self.rng.i32(0..self.partitions));
            self.next += 1;
            let value = value_of(record, 20);
            let delivery = match transaction.enqueue(Record::to(TOPIC).partition(partition).value(&value)).await {
                Ok(delivery) => delivery,
                Err(error) => {
                    self.recorder.note(Event::Refused { record, error: error.to_string() });
                    return (records, false);
                }
            };
            self.recorder.note(Event::Enqueued { record, partition });
            records.push(record);
            if self.rng.u8(..4) == 0 && delivery.await.is_err() {
                return (records, self.rng.bool());
            }
            if self.rng.bool() {
                sleep(self.plan.pause.mul_f64(self.rng.f64() / 4.0)).await;
            }
        }
        (records, self.rng.u8(..3) > 0)
    }

    /// Ends a transaction in one of the ways that there are.
    async fn end(&mut self, transaction: Transaction<'_>, wish: bool) -> Told {
        match (wish, self.rng.u8(..8)) {
            (true, 0) => {
                let patience = self.plan.pause.mul_f64(self.rng.f64() / 4.0) + Duration::from_millis(1);
                timeout(patience, transaction.commit()).await.map_or(Told::Open, Told::of_commit)
            }
            (true, _) => Told::of_commit(transaction.commit().await),
            (false, 0..=2) => {
                drop(transaction);
                Told::Known(false)
            }
            (false, _) => {
                // Whatever it says, nobody asked for a commit.
                let _ = transaction.abort().await;
                Told::Known(false)
            }
        }
    }

    /// Looks at the memory once nothing is under way. What a dead producer left open, another one ends.
    async fn leave(&self, kafka: &Kafka, mut producer: TransactionalProducer) {
        loop {
            let begun = producer.begin().await.map(drop);
            match begun {
                Ok(()) => break,
                Err(TransactionError::Fatal(_)) => {
                    producer = open(kafka, &name_of(self.number), &self.plan.settings).await;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        let held = MEMORY - producer.available_memory();
        self.recorder.note(Event::Emptied { producer: self.number, held });
        let _ = producer.close().await;
    }
}

/// Whose transactions a writer's are.
pub fn name_of(number: u16) -> String {
    format!("writer-{number}")
}

const MEMORY: usize = 1 << 20;
pub const PAUSE: Duration = Duration::from_millis(100);
