//! Sends numbered records in transactions, and says of each what became of it once its transaction has ended.
//!
//! Rules this file keeps:
//! - a record is told as acknowledged only when its transaction is committed, and as failed only when it never will be;
//! - a commit whose outcome is not known is asked for until it is; only the second signal ends that, and then nothing is
//!   told of its records;
//! - the first signal commits what is open.

use std::{sync::Arc, time::Duration};

use clap::Args;
use milena::{
    Error, ErrorKind,
    producer::{CommitError, Delivery, Outcome, Transaction, TransactionError, TransactionalProducer},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Events,
    producer::{Numbers, acknowledged, failed},
};
use crate::{
    failure::{Failure, chain, say},
    signal::Ending,
};

/// The flags that Kafka's VerifiableProducer does not have.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Sends in transactions under this id; a record counts as acknowledged when its transaction is committed.
    #[arg(long, value_name = "ID")]
    pub transactional_id: Option<String>,

    /// How many records a transaction has.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "transactional_id",
        value_parser = clap::value_parser!(u32).range(1..=MAX_SIZE))]
    transaction_size: u32,

    /// Aborts the Kth transaction, the 2Kth and so on, and tells their records as failed.
    #[arg(long, value_name = "K", requires = "transactional_id", value_parser = clap::value_parser!(u64).range(1..))]
    abort_every: Option<u64>,
}

/// Everything that was sent, so far.
pub(super) struct Transactions {
    numbers: Numbers,
    events: Arc<Events>,
    acked: u64,
    begun: u64,
    committed: u64,
    aborted: u64,
}

/// A record of the open transaction. A delivery is kept for its offset, a refusal for its text.
struct Sent {
    key: Option<String>,
    value: String,
    delivery: Result<Delivery, Error>,
}

/// How a transaction ended.
pub(super) enum End {
    Committed,
    Aborted(Error),
    /// The producer is dead, and with it this command.
    Fatal(Option<Outcome>, Error),
}

impl Transactions {
    pub(super) fn new(numbers: Numbers, events: Arc<Events>) -> Self {
        Self { numbers, events, acked: 0, begun: 0, committed: 0, aborted: 0 }
    }

    pub(super) async fn run(mut self, producer: TransactionalProducer, ending: &mut Ending) -> Result<(), Failure> {
        self.events.emit("startup_complete", json!({})).await?;
        let done = self.send_all(producer, ending).await;
        // Also when the producer died: what was told before stays true.
        self.events.emit("shutdown_complete", json!({})).await?;
        let (acked, committed, aborted) = (self.acked, self.committed, self.aborted);
        let mut totals = self.numbers.totals(acked);
        totals["transactions_committed"] = committed.into();
        totals["transactions_aborted"] = aborted.into();
        self.events.emit("tool_data", totals).await?;
        done
    }

    async fn send_all(&mut self, mut producer: TransactionalProducer, ending: &mut Ending) -> Result<(), Failure> {
        let mut stopping = false;
        while !stopping && self.numbers.are_left() {
            if self.events.has_no_reader() {
                return Err(Failure::StdoutClosed);
            }
            let mut sent = Vec::new();
            let end = {
                let transaction = tokio::select! {
                    transaction = begin(&mut producer) => transaction?,
                    () = ending.asked() => break,
                };
                self.begun += 1;
                let filled = tokio::select! {
                    filled = self.fill(&transaction, &mut sent) => filled,
                    () = ending.asked() => { stopping = true; Ok(()) }
                };
                tokio::select! {
                    end = self.end(transaction, filled) => end,
                    () = ending.asked(), if stopping => return Err(unsettled()),
                }
            };
            let end = match end {
                Ok(end) => end,
                Err(why) => tokio::select! {
                    end = find_out(&mut producer, why) => end,
                    () = ending.asked() => return Err(unsettled()),
                },
            };
            self.tell(sent, end).await?;
        }
        // Its error is that of a record, or of an abort, which was told.
        let _ = producer.close().await;
        Ok(())
    }

    /// Enqueues the transaction's records. Dropping the future between two of them loses none.
    async fn fill(&mut self, transaction: &Transaction<'_>, sent: &mut Vec<Sent>) -> Result<(), TransactionError> {
        for _ in 0..self.numbers.options.transactions.transaction_size {
            if !self.numbers.are_left() {
                break;
            }
            self.numbers.turn().await;
            let (key, value) = self.numbers.next();
            let delivery = match transaction.enqueue(self.numbers.record(key.as_deref(), &value)).await {
                Ok(delivery) => Ok(delivery),
                Err(TransactionError::Refused(error)) => Err(error),
                // The record is not in the transaction, and its number is free for the next one.
                Err(error) => return Err(error),
            };
            self.numbers.taken();
            sent.push(Sent { key, value, delivery });
        }
        Ok(())
    }

    /// Ends the transaction as its turn, or what happened in it, asks for. `Err`: it is not known how it ended.
    async fn end(&self, transaction: Transaction<'_>, filled: Result<(), TransactionError>) -> Result<End, Error> {
        let wanted =
            self.numbers.options.transactions.abort_every.is_some_and(|every| self.begun.is_multiple_of(every));
        match filled {
            Err(why) => Ok(abort(transaction, why).await),
            Ok(()) if wanted => {
                let why = Error::new(ErrorKind::Aborted, "the transaction was aborted, as --abort-every asks");
                Ok(abort(transaction, TransactionError::Refused(why)).await)
            }
            Ok(()) => commit(transaction).await,
        }
    }

    async fn tell(&mut self, sent: Vec<Sent>, end: End) -> Result<(), Failure> {
        let (error, fatal) = match end {
            End::Committed => (None, None),
            End::Aborted(error) => (Some(error), None),
            End::Fatal(Some(Outcome::Committed), error) => (None, Some(error)),
            End::Fatal(_, error) => (Some(error.clone()), Some(error)),
        };
        match error {
            None => self.committed += 1,
            Some(_) => self.aborted += 1,
        }
        let topic = &self.numbers.options.topic;
        for Sent { key, value, delivery } in sent {
            let written = match (&error, delivery) {
                (Some(error), _) => Err(error.clone()),
                (None, Ok(delivery)) => delivery.await,
                (None, Err(refused)) => Err(refused),
            };
            match written {
                Ok(ack) => {
                    self.acked += 1;
                    self.events.emit("producer_send_success", acknowledged(key, value, topic, &ack)).await?;
                }
                Err(error) => self.events.emit("producer_send_error", failed(key, value, topic, &error)).await?,
            }
        }
        fatal.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Commits. `Err`: it is not known whether that was done.
pub(super) async fn commit(transaction: Transaction<'_>) -> Result<End, Error> {
    match transaction.commit().await {
        Ok(()) => Ok(End::Committed),
        Err(CommitError::Aborted(why)) => Ok(End::Aborted(why.into())),
        Err(CommitError::Unknown(why)) => Err(why.into()),
        Err(CommitError::Fatal(why)) => Ok(End::Fatal(why.outcome(), why.into())),
    }
}

/// Aborts because of `why`, unless that has killed the producer already.
pub(super) async fn abort(transaction: Transaction<'_>, why: TransactionError) -> End {
    let why = match why {
        TransactionError::Fatal(why) => return End::Fatal(why.outcome(), why.into()),
        why => why.into(),
    };
    match transaction.abort().await {
        Err(TransactionError::Fatal(fatal)) => End::Fatal(fatal.outcome(), fatal.into()),
        // Without an answer it is aborted all the same: the next `begin` asks again.
        Ok(()) | Err(_) => End::Aborted(why),
    }
}

/// Begins a transaction, however long the coordinator takes; a signal ends the waiting.
pub(super) async fn begin(producer: &mut TransactionalProducer) -> Result<Transaction<'_>, Failure> {
    // The borrow of a transaction that is returned would last for the whole loop: so the waiting comes first.
    settled(producer).await?;
    producer.begin().await.map_err(|error| Error::from(error).into())
}

/// Waits until the transaction before has ended, however it did.
pub(super) async fn settled(producer: &mut TransactionalProducer) -> Result<(), Failure> {
    while let Err(error) = producer.outcome().await {
        if let TransactionError::Fatal(why) = error {
            return Err(Error::from(why).into());
        }
        say(&format!("waiting for the coordinator: {}", chain(&Error::from(error))));
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Asks until it is known.
pub(super) async fn find_out(producer: &mut TransactionalProducer, why: Error) -> End {
    say(&format!("not known whether a transaction is committed: {}", chain(&why)));
    loop {
        match producer.outcome().await {
            Ok(Some(Outcome::Committed)) => return End::Committed,
            Ok(_) => return End::Aborted(why),
            Err(TransactionError::Fatal(fatal)) => return End::Fatal(fatal.outcome(), fatal.into()),
            Err(error) => say(&format!("still not known: {}", chain(&Error::from(error)))),
        }
        sleep(PAUSE).await;
    }
}

pub(super) fn unsettled() -> Failure {
    Failure::error("ended before the last transaction was settled")
}

/// Between two questions, each of which has waited already.
const PAUSE: Duration = Duration::from_millis(100);

/// What is kept of a transaction's records is bounded by this.
const MAX_SIZE: i64 = 1_000_000;
