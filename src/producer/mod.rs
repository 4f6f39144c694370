//! The producer: records in, acknowledgements out, in order and once.
//!
//! A record is encoded by the caller, straight into the open batch of its partition (`accumulator`). One task per
//! producer (`sender`) takes what is sealed, asks `machine::queue` what may be sent, and sends it (`lane`); answers
//! settle whole batches at a time (`settle`, `delivery`).

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    cluster::Cluster,
    error::{Error, ErrorKind, Result},
    machine::metadata::{Metadata, Topic as TopicMetadata},
    serdes,
};

mod accumulator;
mod builder;
mod clock;
mod compressor;
mod delivery;
mod enqueue;
mod idle;
mod init;
mod interceptor;
mod lane;
mod line;
mod metrics;
mod partition;
mod partitioner;
mod record;
mod scratch;
mod sender;
mod settle;
mod slot;
mod topic;
mod topics;
mod transaction;

pub use builder::{Acks, ProducerBuilder};
pub use delivery::{BatchDelivery, Deliveries, Delivery, RecordAck};
pub use enqueue::{EnqueueBatchError, NotEnqueued, TryEnqueueError};
pub use interceptor::{OutgoingRecord, ProducerInterceptor, SettledBatch};
// For `milena perf`, which counts in the same way.
#[doc(hidden)]
pub use metrics::Recorder;
pub use metrics::{Histogram, ProducerMetrics, TopicMetrics, Unit};
pub use partitioner::{Choice, Partitioner, Partitioning, Partitions};
pub use record::{Absent, AsBytes, Field, Given, Record};
pub use transaction::{
    Abortable, CommitError, Fatal, FencedBy, Outcome, Transaction, TransactionError, TransactionalProducer,
    UnknownOutcome,
};

use accumulator::{Accumulator, Attempt, Bytes, Obstacle};
pub(crate) use builder::Settings;
use clock::Clock;
use delivery::Cell;
use metrics::Counters;
use partition::Partition;
use partitioner::Stalls;
use sender::{Event, Sender};
use topic::Topic;
use topics::Topics;

/// Sends records. Cheap to clone; all clones share one buffer, one identity and one order per partition.
///
/// What was enqueued is delivered or reported even when every handle is dropped, as long as the runtime lives. Call
/// [`flush`](Self::flush) or [`close`](Self::close) before it ends.
///
/// ```no_run
/// # async fn run() -> milena::Result<()> {
/// use milena::{Kafka, Record};
///
/// let kafka = Kafka::connect("localhost:9092").await?;
/// let producer = kafka.producer().build().await?;
/// let ack = producer.send(Record::to("orders").key("42").value("created")).await?;
/// println!("at offset {:?}", ack.offset);
/// producer.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Producer<K = serdes::Bytes, V = serdes::Bytes> {
    handle: Handle,
    key: Arc<K>,
    value: Arc<V>,
}

impl<K, V> Producer<K, V> {
    /// Sends a record and waits for the broker's answer. With many records, [`enqueue`](Self::enqueue) lets them share
    /// requests.
    ///
    /// # Errors
    /// Those of `enqueue`, and what became of the batch: [`Error::maybe_written`] says whether the record may stand in
    /// the log all the same.
    ///
    /// # Cancel safety
    /// If the future is dropped before the record was enqueued, it never will be; afterwards it is delivered all the
    /// same, and nobody can tell from outside which it was.
    pub async fn send<'r, RK, RV>(&self, record: Record<'r, RK, RV>) -> Result<RecordAck>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        self.enqueue(record).await?.await
    }

    /// Puts a record into its batch. Waits for memory (`buffer.memory`) and, the first time, for the topic's metadata
    /// and the schema; never for the broker's answer. While more than 4 MiB (or four batches, or half of a smaller
    /// buffer) waits to be acknowledged, the call after one that filled a batch is held back by up to 5 ms. When it
    /// returns, the record's place in its partition's order is fixed.
    ///
    /// # Errors
    /// `RecordTooLarge` with both sizes; `UnknownTopic` and `BufferFull` after `max.block.ms`, which bounds the
    /// two waits together (`UnknownTopic` at once for a partition that the topic does not have); `Broker` where access to the
    /// topic is denied; `Serialization` and those of the registry from the serializers, which `max.block.ms` does not
    /// bound; `Closed`. After any of them the record was not enqueued.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is not enqueued, unless the future was ready: whatever a call waits for, it
    /// waits for before it appends.
    #[inline]
    pub fn enqueue<'r, RK, RV>(&self, record: Record<'r, RK, RV>) -> impl Future<Output = Result<Delivery>>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        // By hand, because an `async fn` copies its arguments once more, and most records need no waiting: one that does
        // is begun anew in a future of its own.
        let (mut record, mut waiting) = (Some(record), None);
        poll_fn(move |cx| {
            if let Some(given) = &record {
                let mut attempt = Attempt::default();
                if let Some(delivery) = self.enqueue_at_once(given, &mut attempt) {
                    // Whoever polls once more gets nothing, and writes nothing.
                    record = None;
                    return Poll::Ready(Ok(delivery));
                }
                let wait = |record| Box::pin(async move { self.enqueue_one(&record, attempt).await });
                waiting = record.take().map(wait);
            }
            waiting.as_mut().map_or(Poll::Pending, |waiting| waiting.as_mut().poll(cx))
        })
    }

    /// Sends everything now, whatever its linger, and waits until all that was enqueued before is settled. What other
    /// callers enqueue meanwhile is not waited for.
    ///
    /// # Errors
    /// The first failure among the batches that were waited for; or else, one among those that failed before and of
    /// which nobody heard, because the deliveries were dropped. Each is told once. It comes after about
    /// `delivery.timeout.ms` and, for what is on the wire then, `request.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting, not the sending.
    pub async fn flush(&self) -> Result<()> {
        self.handle.core.flush().await
    }

    /// Refuses new records, waits until all that was enqueued is settled, and ends the producer. Other handles see
    /// `Closed` from then on.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// The producer is closed at the first poll; dropping the future stops the waiting, not the sending.
    pub async fn close(self) -> Result<()> {
        self.handle.core.close().await
    }

    /// As [`close`](Self::close), but what is not settled by then fails: with `Closed`, and
    /// [`Error::maybe_written`] says whether it may stand in the log all the same. With `Duration::ZERO` that is at once,
    /// for all that no broker has acknowledged. Java: `close(Duration)`.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// The producer is closed at the first poll, and the time runs; dropping the future stops the waiting only.
    pub async fn close_with(self, patience: Duration) -> Result<()> {
        self.handle.core.close_with(patience).await
    }

    /// What waits to be acknowledged now.
    pub fn buffered(&self) -> Buffered {
        self.handle.core.buffered()
    }

    /// What was done so far, by all clones together.
    pub fn metrics(&self) -> ProducerMetrics {
        self.handle.core.metrics()
    }

    /// Bytes of `buffer.memory` that are free now.
    pub fn available_memory(&self) -> usize {
        self.handle.core.accumulator.available()
    }
}

impl<K, V> Clone for Producer<K, V> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

/// What was enqueued and is not settled yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Buffered {
    /// Records, whether in an open batch, waiting to be sent, or on the wire.
    pub records: usize,
    /// Bytes of `buffer.memory` that they hold; memory is taken in chunks of 32 KiB, so this is more than their sum.
    pub bytes: usize,
}

/// What the handles, the callers and the task share.
#[derive(Debug)]
struct Core {
    cluster: Cluster,
    settings: Settings,
    accumulator: Accumulator,
    topics: Topics,
    partitions: RwLock<Vec<Arc<Partition>>>,
    stalls: Stalls,
    events: mpsc::UnboundedSender<Event>,
    handles: AtomicUsize,
    /// Topics that were asked for by callers who did not wait: with an error once it is clear that they are not to be
    /// had, and gone once they are.
    asked: Mutex<BTreeMap<Box<str>, Option<Error>>>,
    /// A batch that failed, as far as is known without anybody having been told.
    untold: Mutex<Option<Arc<Cell>>>,
    metrics: Arc<Counters>,
}

impl Core {
    fn start(cluster: Cluster, settings: Settings) -> Handle {
        let (events, inbox) = mpsc::unbounded_channel();
        let accumulator = Accumulator::new(
            settings.batch_size,
            settings.max_request_size,
            settings.buffer_memory,
            Clock::of(&cluster),
        )
        .with_partitioning(settings.partitioning.clone())
        .with_compression(settings.compresses());
        let core = Arc::new(Self {
            cluster,
            settings,
            accumulator,
            topics: Topics::default(),
            partitions: RwLock::default(),
            stalls: Stalls::default(),
            events: events.clone(),
            handles: AtomicUsize::new(1),
            asked: Mutex::default(),
            untold: Mutex::default(),
            metrics: Arc::default(),
        });
        tokio::spawn(Sender::new(core.clone(), inbox, events).run());
        Handle { core }
    }

    /// Appends, and waits for whatever is in the way.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is not enqueued.
    async fn enqueue<'c>(
        &'c self,
        topic: &str,
        partition: Option<i32>,
        record: &Bytes<'_>,
        mut attempt: Attempt<'c>,
    ) -> Result<Delivery> {
        // One bound for all that a record waits for (max.block.ms); no clock is read for those that do not wait.
        let until = Instant::now() + self.settings.max_block;
        loop {
            if let Some(delivery) = self.append(topic, partition, record, &mut attempt) {
                return Ok(delivery);
            }
            match std::mem::take(&mut attempt.obstacle) {
                Obstacle::Unknown => self.learn(topic, until).await?,
                Obstacle::NoMemory(bytes) => attempt.permit = Some(self.wait_for_memory(topic, bytes, until).await?),
                Obstacle::Full => {}
                Obstacle::Refused(error) => return Err(error),
            }
        }
    }

    /// `None`: see the obstacle.
    #[inline]
    fn append(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: &Bytes<'_>,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        if !self.settings.interceptors.is_empty() {
            return self.append_intercepted(topic, partition, record, attempt);
        }
        self.topics.with(topic, |topic| self.accumulator.append(topic, partition, record, attempt))
    }

    /// Interceptors see a record once, however many attempts it takes.
    #[cold]
    fn append_intercepted(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: &Bytes<'_>,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        let added = attempt.added.take();
        let added = added.unwrap_or_else(|| self.settings.interceptors.show(topic, partition, *record));
        let delivery = added.with(*record, |record| {
            self.topics.with(topic, |topic| self.accumulator.append(topic, partition, &record, attempt))
        });
        attempt.added = Some(added);
        delivery
    }

    async fn wait_for_memory(
        &self,
        topic: &str,
        bytes: usize,
        deadline: Instant,
    ) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let Settings { max_block, buffer_memory, .. } = self.settings;
        self.check_buffer(topic, bytes)?;
        let begun = Instant::now();
        let waited = timeout_at(deadline, self.accumulator.memory(bytes)).await;
        self.metrics.count_memory_wait(begun.elapsed());
        waited.unwrap_or_else(|_| {
            self.metrics.count_full();
            let message = format!(
                "no memory for a record for {topic} within {max_block:?} (max.block.ms): all {buffer_memory} bytes (buffer.memory) wait for a broker"
            );
            Err(Error::new(ErrorKind::BufferFull, message))
        })
    }

    /// Waits until the topic is known, for as long as a caller may be held up.
    #[cold]
    async fn learn(&self, topic: &str, deadline: Instant) -> Result<()> {
        let metadata = tokio::select! {
            // A producer that is closed takes nothing, whatever is found.
            biased;
            () = self.accumulator.closed() => return Err(self.accumulator.refusal()),
            found = self.cluster.topic(topic, deadline) => found?,
        };
        if let Some(described) = metadata.topic(topic) {
            self.take_in(described);
        }
        Ok(())
    }

    /// Topics in use follow the metadata: more partitions, other leaders.
    fn update_topics(&self, metadata: &Metadata) {
        for topic in self.topics.all() {
            if let Some(described) = metadata.topic(&topic.name).filter(|it| !topic.is_up_to_date(it, metadata)) {
                self.take_in(described);
            }
        }
    }

    fn take_in(&self, described: &TopicMetadata) {
        self.topics.change(&described.name, |before| {
            if before.is_none() {
                self.cluster.hold_topic(&described.name);
            }
            let mut partitions = before.map(|topic| topic.partitions.clone()).unwrap_or_default();
            let mut all = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
            // A topic that was made again with fewer partitions leaves the others in `all`, where they wait to be empty.
            // If they come back they are the same ones: two that number the same log from zero would lose records as
            // duplicates of each other's. So do those of a topic that was forgotten because nobody used it.
            let is_one = |known: &&Arc<Partition>| known.topic == described.name;
            let has_more = described.partitions.len() > partitions.len();
            let known = all.iter().filter(is_one).filter(|_| has_more);
            let mut known: BTreeMap<i32, Arc<Partition>> = known.map(|known| (known.index, known.clone())).collect();
            for index in partitions.len()..described.partitions.len() {
                let partition = known.remove(&(index as i32)).unwrap_or_else(|| {
                    let partition = Arc::new(Partition::new(described.name.clone(), index as i32, all.len()));
                    all.push(partition.clone());
                    partition
                });
                partitions.push(partition);
            }
            partitions.truncate(described.partitions.len());
            let leaders = topic::leaders(described, &self.cluster.metadata(), &self.stalls);
            let before = before.map(Arc::as_ref);
            Topic::new(described.name.clone(), partitions, leaders, &self.settings.spread, before)
        });
    }

    /// The partitions with these numbers and higher.
    fn partitions_from(&self, number: usize) -> Vec<Arc<Partition>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.get(number..).unwrap_or_default().to_vec()
    }

    async fn flush(&self) -> Result<()> {
        self.settle(None).await
    }

    async fn close(&self) -> Result<()> {
        self.accumulator.close();
        self.flush().await
    }

    async fn close_with(&self, patience: Duration) -> Result<()> {
        self.accumulator.close();
        self.settle(Some(patience)).await
    }

    /// Waits for all that is enqueued; what is not settled in time fails.
    async fn settle(&self, patience: Option<Duration>) -> Result<()> {
        let (reply, cells) = oneshot::channel();
        let mut outcome = Ok(());
        // A task that has ended has settled everything.
        if self.events.send(Event::Flush { reply, patience }).is_ok()
            && let Ok(cells) = cells.await
        {
            for cell in cells {
                outcome = outcome.and(cell.settled().await);
            }
        }
        // Whoever dropped the deliveries and flushes late is to hear of it, too.
        outcome.and_then(|()| self.take_untold()).and_then(|()| self.accumulator.fatal().cloned().map_or(Ok(()), Err))
    }

    /// A batch has failed, which `flush` tells if its deliveries do not.
    fn note_failure(&self, cell: &Arc<Cell>) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.as_ref().is_none_or(|cell| cell.is_told()) {
            *untold = Some(cell.clone());
        }
    }

    fn take_untold(&self) -> Result<()> {
        let untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner).take();
        untold.and_then(|cell| cell.tell()).map_or(Ok(()), Err)
    }

    fn metrics(&self) -> ProducerMetrics {
        let mut metrics = self.metrics.snapshot();
        metrics.buffered = self.buffered();
        metrics.waiting_callers = self.accumulator.waiting();
        metrics
    }

    fn buffered(&self) -> Buffered {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let waiting: usize = partitions.iter().map(|partition| partition.records()).sum();
        drop(partitions);
        let bytes = self.settings.buffer_memory.saturating_sub(self.accumulator.available());
        Buffered { records: waiting + self.metrics.fetched(), bytes }
    }
}

/// Counts the producer's handles: the task ends when there are none and nothing is left to do.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.core.handles.fetch_add(1, Ordering::AcqRel);
        Self { core: self.core.clone() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.core.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.accumulator.wake.notify_one();
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
