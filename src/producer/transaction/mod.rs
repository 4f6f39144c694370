//! Transactions: records and offsets of several partitions that become visible together or not at all.
//!
//! Rules this file keeps:
//! - T7  one transaction is open at a time, and nothing goes into one that is ending: `Transaction` borrows its producer,
//!   and ending it takes it;
//! - a transaction that is dropped is aborted, in the background;
//! - nobody waits here for more than is said: `max.block.ms` for a coordinator, `delivery.timeout.ms` for records.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, ErrorKind, Result},
    serdes,
    types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition},
    wire::Str,
};

use super::{
    BatchDelivery, Buffered, Delivery, EnqueueBatchError, Field, NotEnqueued, Producer, ProducerMetrics, Record,
    RecordAck, TryEnqueueError, sender,
};

mod driver;
mod error;
mod requests;

pub(super) use driver::{Driver, Event, Link};
pub use error::{Abortable, CommitError, Fatal, FencedBy, Outcome, TransactionError, UnknownOutcome};

/// What makes a producer transactional.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) id: Str,
    pub(super) timeout: Duration,
    pub(super) link: Arc<Link>,
}

/// A producer whose records become visible transaction by transaction, in the order of its transactional id: it has
/// fenced every older producer of that id, and ends what they had left open.
///
/// ```no_run
/// # async fn run() -> milena::Result<()> {
/// use milena::{Kafka, Record};
///
/// let kafka = Kafka::connect("localhost:9092").await?;
/// let mut producer = kafka.producer().transactional("pricing-1").await?;
/// let transaction = producer.begin().await?;
/// transaction.enqueue(Record::to("orders").value("one")).await?.detach();
/// transaction.enqueue(Record::to("invoices").value("two")).await?.detach();
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// Which of the two versions of transactions is spoken (KIP-890) is what the cluster has finalized as
/// `transaction.version` when a transaction begins.
#[derive(Debug)]
pub struct TransactionalProducer<K = serdes::Bytes, V = serdes::Bytes> {
    producer: Producer<K, V>,
    link: Arc<Link>,
}

/// An open transaction. What is sent in it becomes visible to consumers that read committed records when
/// [`commit`](Self::commit) says so, and never if it is aborted.
///
/// Dropping it aborts it in the background: records that are not on the wire fail at once, and the next
/// [`begin`](TransactionalProducer::begin) waits until the coordinator has ended it.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'p, K = serdes::Bytes, V = serdes::Bytes> {
    producer: &'p TransactionalProducer<K, V>,
    ended: bool,
}

impl<K, V> TransactionalProducer<K, V> {
    /// Waits until the coordinator has given the producer its identity.
    pub(super) async fn start(producer: Producer<K, V>, link: Arc<Link>) -> Result<Self> {
        let producer = Self { producer, link };
        let ready = producer.ask(|answer| Event::Begin { open: false, answer }, "the coordinator gave no producer id");
        ready.await?;
        Ok(producer)
    }

    /// Waits until a transaction can begin, as [`begin`](Self::begin) does, and begins none.
    ///
    /// It is for programs that go on with a new producer when this one is dead. The transaction that `begin` returns
    /// borrows its producer, and the compiler keeps that borrow alive in every arm of a `match` on it, also where there is
    /// only an error; what this returns borrows nothing:
    ///
    /// ```no_run
    /// # use milena::{Kafka, Record, Result, producer::{CommitError, TransactionalProducer}};
    /// # async fn run(kafka: Kafka) -> Result<()> {
    /// # async fn reopen(kafka: &Kafka) -> Result<TransactionalProducer> { kafka.producer().transactional("id").await }
    /// let mut producer = reopen(&kafka).await?;
    /// loop {
    ///     match producer.ready().await {
    ///         Err(error) if error.is_fatal() => {
    ///             producer = reopen(&kafka).await?;
    ///             continue;
    ///         }
    ///         ready => ready?,
    ///     }
    ///     let transaction = producer.begin().await?;
    ///     transaction.enqueue(Record::to("orders").value("one")).await?.detach();
    ///     match transaction.commit().await {
    ///         Err(CommitError::Fatal(_)) => producer = reopen(&kafka).await?,
    ///         done => done?,
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Without it, the error has to leave the `match` before the producer is replaced:
    ///
    /// ```no_run
    /// # use milena::{Kafka, Result, producer::TransactionalProducer};
    /// # async fn run(kafka: Kafka, mut producer: TransactionalProducer) -> Result<()> {
    /// let error = match producer.begin().await {
    ///     Ok(transaction) => return Ok(transaction.commit().await?),
    ///     Err(error) => error,
    /// };
    /// if error.is_fatal() {
    ///     producer = kafka.producer().transactional("id").await?;
    /// }
    /// # producer.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`begin`](Self::begin). A producer can die between the two calls; `begin` tells it then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the waiting.
    pub async fn ready(&mut self) -> Result<(), TransactionError> {
        self.wait(false).await
    }

    /// Begins a transaction. That is a local matter, except that what is under way is waited for: the end of the
    /// transaction before, if nobody waited for that, and what had remained unknown.
    ///
    /// # Errors
    /// `Fatal` if the producer is dead. `Refused` if what is under way does not end within `max.block.ms`; the next call
    /// asks again.
    ///
    /// # Cancel safety
    /// If the future is dropped, no transaction is open; what it waited for goes on.
    pub async fn begin(&mut self) -> Result<Transaction<'_, K, V>, TransactionError> {
        self.wait(true).await?;
        Ok(Transaction { producer: self, ended: false })
    }

    /// What became of the last transaction, for whoever was told that it is not known, or did not wait to be told. If
    /// need be, the coordinator is asked for the same end once more, which does what was wanted if it was not done yet.
    /// `None` before the first transaction.
    ///
    /// # Errors
    /// `Refused` if the coordinator still does not answer; ask again. `Fatal` if the producer is dead, with the
    /// transaction's outcome as far as it can be known: whoever has taken over may have hidden it for good.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting, not the asking.
    pub async fn outcome(&mut self) -> Result<Option<Outcome>, TransactionError> {
        self.ask(Event::Outcome, "the coordinator does not tell what became of the transaction").await
    }

    /// Fetches what records like this one need, before the first transaction; as [`Producer::prepare`].
    ///
    /// # Errors
    /// As [`Producer::prepare`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the waiting.
    pub async fn prepare<RK, RV>(&self, record: &Record<'_, RK, RV>) -> Result<()>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        self.producer.prepare(record).await
    }

    /// Ends the producer; what is under way is waited for. Records of transactions that were aborted, or dropped, are no
    /// news here.
    ///
    /// # Errors
    /// Why the last transaction was not committed, if its commit was dropped before it told; `OutcomeUnknown` if that is
    /// not known. `Fenced`, and whatever else has ended the producer before.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting, not what is waited for.
    pub async fn close(self) -> Result<()> {
        let ended = self.idle().await;
        let _ = self.producer.handle.core.close().await;
        self.farewell(ended)
    }

    /// As [`close`](Self::close), but what has not ended by then is left as it is: records fail with `Closed`, and a
    /// transaction is ended by the next producer of this transactional id, or by the coordinator after
    /// `transaction.timeout.ms`. With `Duration::ZERO` that is at once. Java: `close(Duration)`.
    ///
    /// # Errors
    /// As [`close`](Self::close); and what was left: `Timeout` for a transaction that is not ended but will be aborted,
    /// `OutcomeUnknown` for one whose commit was asked for and not answered.
    ///
    /// # Cancel safety
    /// The producer is closed at the first poll, and the time runs; dropping the future stops the waiting only.
    pub async fn close_with(self, patience: Duration) -> Result<()> {
        let idle = self.idle();
        let _ = self.producer.handle.core.close_with(patience).await;
        // The task answers when the time is over at the latest.
        self.farewell(idle.await)
    }

    /// What waits to be acknowledged now.
    pub fn buffered(&self) -> Buffered {
        self.producer.buffered()
    }

    /// What was done so far.
    pub fn metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    /// Bytes of `buffer.memory` that are free now.
    pub fn available_memory(&self) -> usize {
        self.producer.available_memory()
    }

    fn tell(&self, event: Event) {
        let _ = self.producer.handle.core.events.send(sender::Event::Transaction(event));
    }

    /// Waits until a transaction can begin; with `open`, it does.
    async fn wait(&self, open: bool) -> Result<(), TransactionError> {
        let late = "the coordinator has not ended the transaction before";
        self.ask(|answer| Event::Begin { open, answer }, late).await
    }

    /// Asks to be told when nothing is under way any more.
    fn idle(&self) -> oneshot::Receiver<Result<()>> {
        let (answer, idle) = oneshot::channel();
        self.tell(Event::Idle(answer));
        idle
    }

    /// What is news at the end. Records that failed were told by the ends of their transactions; a task that has ended
    /// before has nothing under way.
    fn farewell(&self, ended: Result<Result<()>, oneshot::error::RecvError>) -> Result<()> {
        ended
            .unwrap_or(Ok(()))
            .and_then(|()| self.producer.handle.core.accumulator.fatal().cloned().map_or(Ok(()), Err))
    }

    /// Asks the task, and waits for its answer no longer than `max.block.ms`.
    async fn ask<T>(
        &self,
        event: impl FnOnce(oneshot::Sender<Result<T, TransactionError>>) -> Event,
        late: &str,
    ) -> Result<T, TransactionError> {
        let (answer, answered) = oneshot::channel();
        self.tell(event(answer));
        let patience = self.producer.handle.core.settings.max_block;
        match timeout_at(Instant::now() + patience, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.link.check().err().unwrap_or_else(error::closed)),
            Err(_) => {
                let text = format!("{late} within {patience:?} (max.block.ms)");
                Err(TransactionError::Refused(Error::new(ErrorKind::Timeout, text)))
            }
        }
    }
}

impl<K, V> Transaction<'_, K, V> {
    /// Puts a record into the transaction; as [`Producer::enqueue`]. The delivery may be awaited or dropped:
    /// [`commit`](Self::commit) waits for all of them.
    ///
    /// # Errors
    /// `Refused` with what `Producer::enqueue` says: the record is not in the transaction, which is as it was. `Abortable`
    /// if something in the transaction has failed already.
    ///
    /// # Cancel safety
    /// As [`Producer::enqueue`].
    pub async fn enqueue<'r, RK, RV>(&self, record: Record<'r, RK, RV>) -> Result<Delivery, TransactionError>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        self.producer.link.check()?;
        let enqueued = self.producer.producer.enqueue(record).await;
        enqueued.map_err(|error| self.producer.link.check().err().unwrap_or(TransactionError::Refused(error)))
    }

    /// Puts a record into the transaction and waits until it is written; it is visible only after the commit.
    ///
    /// # Errors
    /// Those of `enqueue`; `Abortable` if it was not written.
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub async fn send<'r, RK, RV>(&self, record: Record<'r, RK, RV>) -> Result<RecordAck, TransactionError>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        let written = self.enqueue(record).await?.await;
        written.map_err(|error| match self.producer.link.check() {
            Err(TransactionError::Fatal(why)) => TransactionError::Fatal(why),
            _ => TransactionError::Abortable(Abortable(error)),
        })
    }

    /// Puts a record into the transaction if that is possible at once, and hands it back if not; as
    /// [`Producer::try_enqueue`].
    ///
    /// # Errors
    /// The record, with what `Producer::try_enqueue` says, or [`Refused`](NotEnqueued::Refused) with the reason why
    /// nothing more goes into the transaction ([`commit`](Self::commit) says it too).
    pub fn try_enqueue<'r, RK, RV>(
        &self,
        record: Record<'r, RK, RV>,
    ) -> Result<Delivery, TryEnqueueError<Record<'r, RK, RV>>>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        match self.check() {
            Ok(()) => self.producer.producer.try_enqueue(record),
            Err(error) => Err(TryEnqueueError { record, reason: NotEnqueued::Refused(error) }),
        }
    }

    /// Fetches what records like this one need; as [`Producer::prepare`].
    ///
    /// # Errors
    /// As [`Producer::prepare`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the waiting.
    pub async fn prepare<RK, RV>(&self, record: &Record<'_, RK, RV>) -> Result<()>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        self.producer.prepare(record).await
    }

    /// Puts many records into the transaction, in their order; as [`Producer::enqueue_batch`].
    ///
    /// # Errors
    /// As `Producer::enqueue_batch`, or with the reason why nothing more goes into the transaction
    /// ([`commit`](Self::commit) says it too).
    ///
    /// # Cancel safety
    /// As [`Producer::enqueue_batch`]; what was enqueued so far is in the transaction.
    pub async fn enqueue_batch<'r, RK, RV, I>(
        &self,
        records: I,
    ) -> Result<BatchDelivery, EnqueueBatchError<Record<'r, RK, RV>, I::IntoIter>>
    where
        RK: Field<K>,
        RV: Field<V>,
        I: IntoIterator<Item = Record<'r, RK, RV>>,
    {
        self.producer.producer.enqueue_batch_while(records, || self.check()).await
    }

    /// Sends everything now, whatever its linger, and waits until all that was enqueued is written; it is visible only
    /// after the commit, which does this by itself.
    ///
    /// # Errors
    /// `Abortable` if something was not written. `Fatal` if the producer is dead.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting, not the sending.
    pub async fn flush(&self) -> Result<(), TransactionError> {
        let flushed = self.producer.producer.flush().await;
        self.producer.link.check()?;
        flushed.map_err(|error| TransactionError::Abortable(Abortable(error)))
    }

    /// Why nothing more goes into the transaction, for calls whose errors have one type.
    fn check(&self) -> Result<()> {
        Ok(self.producer.link.check()?)
    }

    /// Commits offsets of a consumer group with the transaction (KIP-447): the group goes on there if and only if the
    /// transaction is committed.
    ///
    /// # Errors
    /// `Abortable` if the group has moved on (`ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`): somebody
    /// else has its partitions now, and the transaction must not be committed; if access is denied; if no coordinator
    /// answered within `max.block.ms`; or if something else in the transaction had failed already.
    ///
    /// # Cancel safety
    /// If the future is dropped, the offsets may be committed with the transaction or not: commit it only if you want
    /// them, and otherwise abort.
    pub async fn send_offsets<O: Into<OffsetAndMetadata>>(
        &self,
        group: &ConsumerGroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, O)>,
    ) -> Result<(), TransactionError> {
        self.producer.link.check()?;
        // Of a partition that is named twice the last offset counts.
        let offsets: BTreeMap<TopicPartition, OffsetAndMetadata> =
            offsets.into_iter().map(|(partition, offset)| (partition, offset.into())).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let offsets = offsets.into_iter().collect();
        let (answer, answered) = oneshot::channel();
        self.producer.tell(Event::Offsets { group: group.clone(), offsets, answer });
        answered.await.unwrap_or_else(|_| Err(self.producer.link.check().err().unwrap_or_else(error::closed)))
    }

    /// Commits: waits until all that was enqueued is written, and asks the coordinator to make it visible. A transaction
    /// with nothing in it is committed without asking anybody.
    ///
    /// # Errors
    /// `Aborted` if a record or an offset was not taken: nothing of the transaction will be visible, and the next one can
    /// begin. `Unknown` if the coordinator was asked and did not answer for `max.block.ms`. `Fatal` if the producer is
    /// dead.
    ///
    /// # Cancel safety
    /// The commit is decided at the first poll. If the future is dropped after that, it goes on in the background, the
    /// next `begin` waits for it, and [`outcome`](TransactionalProducer::outcome) tells how it ended. A future that was
    /// never polled aborts.
    pub async fn commit(self) -> Result<(), CommitError> {
        self.end(true).await
    }

    /// Aborts: what is not on the wire fails at once (KIP-654), and the coordinator is asked to hide the rest.
    ///
    /// # Errors
    /// `Refused` if the coordinator did not answer for `max.block.ms`: nothing of the transaction will ever be committed,
    /// and the next `begin` asks again. `Fatal` if the producer is dead.
    ///
    /// # Cancel safety
    /// As [`commit`](Self::commit); whatever becomes of the future, the transaction is aborted.
    pub async fn abort(self) -> Result<(), TransactionError> {
        match self.end(false).await {
            Ok(()) | Err(CommitError::Aborted(_)) => Ok(()),
            Err(CommitError::Unknown(why)) => Err(TransactionError::Refused(why.0)),
            Err(CommitError::Fatal(why)) => Err(TransactionError::Fatal(why)),
        }
    }

    async fn end(mut self, commit: bool) -> Result<(), CommitError> {
        self.ended = true;
        let (answer, answered) = oneshot::channel();
        self.producer.tell(Event::End { commit, answer: Some(answer) });
        answered.await.unwrap_or_else(|_| {
            Err(match self.producer.link.check().err().unwrap_or_else(error::closed) {
                TransactionError::Fatal(why) => CommitError::Fatal(why),
                TransactionError::Abortable(why) => CommitError::Aborted(why),
                TransactionError::Refused(error) => CommitError::Unknown(UnknownOutcome(error)),
            })
        })
    }
}

impl<K, V> Drop for Transaction<'_, K, V> {
    fn drop(&mut self) {
        if !self.ended {
            self.producer.tell(Event::End { commit: false, answer: None });
        }
    }
}
