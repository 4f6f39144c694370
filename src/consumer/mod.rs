//! Reading records: partitions are assigned, batches are polled.
//!
//! Rules this folder keeps:
//! - what to fetch and what to hand out is decided in `machine::fetch`; the task in `driver.rs` carries;
//! - checksums, decompression and the walk happen in `poll`, one batch at a time, while the batch is in the cache;
//! - dropping a future of this API loses nothing: what was fetched stays buffered, what was decoded stays decoded;
//! - the position moves when `poll` returns a batch, and by `seek`.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, consume_budget, yield_now},
    time::{Instant, timeout_at},
};

use crate::{
    cluster::{Cluster, To, Traffic},
    error::{Error, ErrorKind, Result},
    machine::{
        fetch::{Fetcher, LookupPart, LookupPlan, Ready},
        metadata::Metadata,
    },
    plant::{self, Plant},
    record::DecodeScratch,
    serdes::Bytes,
    types::{BrokerId, Offset, TopicPartition},
    wire::{ErrorCode, Str},
};

mod batch;
mod builder;
mod driver;
mod exchange;

pub use crate::{machine::fetch::StartFrom, properties::OffsetReset};
pub use batch::{Batch, Field, Record, Records, Typed};
pub use builder::ConsumerBuilder;

use builder::Settings;
use driver::Shared;
use exchange::{Fetched, Terms};

/// Which records of transactions are read. Java: `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// All records, whatever becomes of their transaction. Kafka's default.
    #[default]
    ReadUncommitted,
    /// Only records of committed transactions and of none; reading stops before the first open transaction.
    ReadCommitted,
}

impl IsolationLevel {
    fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Reads partitions in batches. Fetching runs ahead in the background; dropping the consumer ends it. It belongs to no
/// group and commits nothing: where to begin is the caller's to say.
///
/// ```no_run
/// # async fn example(kafka: milena::Kafka) -> milena::Result<()> {
/// use milena::{TopicPartition, consumer::StartFrom};
///
/// let partition = TopicPartition::new("orders", 0);
/// let mut consumer = kafka.consumer().assign([(partition, StartFrom::Beginning)]).await?;
/// while let Some(batch) = consumer.poll().await? {
///     for record in &batch {
///         println!("{}: {:?}", record.offset(), record.value());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Consumer<K = Bytes, V = Bytes> {
    cluster: Cluster,
    shared: Arc<Shared>,
    settings: Settings,
    terms: Arc<Terms>,
    fields: Arc<(K, V)>,
    driver: Option<JoinHandle<()>>,
    scratch: DecodeScratch,
    /// A batch that waits for its deserializers. It is not delivered yet.
    decoded: Option<Batch<K, V>>,
    /// Room became free: let the task send its next fetch before more is handed out.
    give_way: bool,
}

/// Where reading is to stop: the end of each partition at one time. See [`Consumer::ends`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends(Vec<(TopicPartition, Offset)>);

impl Ends {
    /// The partitions and the offsets behind their last records.
    pub fn iter(&self) -> impl Iterator<Item = &(TopicPartition, Offset)> {
        self.0.iter()
    }
}

impl<K, V> Consumer<K, V> {
    /// The offset of the next record of `partition` to be returned; `None` if it is not assigned, or still looked up.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.shared.fetcher().position(partition)
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.fetcher().assignment().cloned().collect()
    }

    /// Goes on reading `partition` at another place. What was fetched of it is dropped; a partition that an error had
    /// halted goes on. Until the place is looked up, [`position`](Self::position) is `None`. An offset is taken as it is;
    /// one that is out of range is noticed by the next fetch.
    ///
    /// # Errors
    /// `Config`: the partition is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, to: StartFrom) -> Result<()> {
        self.shared.fetcher().seek(Instant::now().into_std(), partition, to)?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Stops returning and fetching records of `partition`. What was fetched of it is kept; its position stays.
    ///
    /// # Errors
    /// `Config`: the partition is not assigned.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, true)
    }

    /// Undoes [`pause`](Self::pause).
    ///
    /// # Errors
    /// `Config`: the partition is not assigned.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, false)
    }

    /// How many offsets lie between the position and the end of `partition`, as the last response told it; `None` while
    /// either is unknown. Offsets are not records: compaction and transactions leave holes.
    pub fn lag(&self, partition: &TopicPartition) -> Option<u64> {
        let fetcher = self.shared.fetcher();
        let end = self.settings.isolation.end_of(fetcher.watermarks(partition)?);
        Some(end.saturating_sub(fetcher.position(partition)?).max(0).unsigned_abs())
    }

    /// Whether every assigned partition is read to its end, as the last responses told it; true of no partitions, false
    /// as long as one of them was not fetched from yet.
    pub fn at_end(&self) -> bool {
        self.assignment().iter().all(|partition| self.lag(partition) == Some(0))
    }

    /// Stops fetching. `poll` returns `None` from now on. Closing twice is no error.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest of the work to the task; the consumer is closed all the same.
    pub async fn close(&mut self) -> Result<()> {
        self.shared.close();
        self.decoded = None;
        if let Some(driver) = &mut self.driver {
            let _ = driver.await;
            self.driver = None;
        }
        Ok(())
    }

    fn set_paused(&mut self, partition: &TopicPartition, paused: bool) -> Result<()> {
        self.shared.fetcher().set_paused(Instant::now().into_std(), partition, paused)?;
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl<K: Field, V: Field> Consumer<K, V> {
    fn new(cluster: Cluster, settings: Settings, fields: (K, V)) -> Self {
        let shared = Arc::new(Shared::new(Fetcher::new(settings.machine(&cluster))));
        let terms = settings.terms(&cluster);
        let driver = tokio::spawn(driver::run(shared.clone(), cluster.clone(), terms.clone()));
        Self {
            cluster,
            shared,
            settings,
            terms,
            fields: Arc::new(fields),
            driver: Some(driver),
            scratch: DecodeScratch::default(),
            decoded: None,
            give_way: false,
        }
    }

    /// Reads these partitions from now on, and no others. A partition that was assigned before keeps its position, what
    /// was fetched of it and its pause; `StartFrom` is for the new ones. To move an old one, [`seek`](Self::seek).
    ///
    /// # Errors
    /// `UnknownTopic`: the cluster does not know a topic within `api_timeout`, or a partition. `Broker`: access to a
    /// topic is denied. The assignment is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the assignment as it was.
    pub async fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, StartFrom)>) -> Result<()> {
        let wanted: Vec<_> = partitions.into_iter().collect();
        let deadline = Instant::now() + self.settings.api_timeout;
        let topics: BTreeSet<&Str> = wanted.iter().map(|(name, _)| &name.topic).collect();
        for topic in topics {
            let metadata = self.cluster.topic(topic, deadline).await?;
            let of_topic = wanted.iter().filter(|(name, _)| name.topic == *topic);
            if of_topic.clone().any(|(name, _)| !exists(&metadata, name)) {
                // The topic may have got more partitions since this was heard.
                self.cluster.topic_now(topic, deadline).await?;
            }
        }
        let metadata = self.cluster.metadata();
        if let Some((name, _)) = wanted.iter().find(|(name, _)| !exists(&metadata, name)) {
            let count = metadata.topic(&name.topic).map_or(0, |topic| topic.partitions.len());
            let text = format!("{name} does not exist: topic {} has {count} partitions", name.topic);
            return Err(Error::new(ErrorKind::UnknownTopic, text));
        }
        // From now on it is in use, however seldom something is read; for the life of the client.
        wanted.iter().for_each(|(name, _)| self.cluster.hold_topic(&name.topic));
        self.shared.fetcher().assign(Instant::now().into_std(), wanted);
        driver::learn(&self.shared, &metadata);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// The next batch; waits for one. `None` after [`close`](Self::close).
    ///
    /// # Errors
    /// - About one partition, which the error names: it is damaged (`CorruptBatch`, after a second fetch brought the
    ///   same), refused, out of range under [`OffsetReset::None`], or without success for longer than `api_timeout`. The
    ///   other partitions go on with the next `poll`; a damaged, refused or out-of-range one rests until a `seek`, and
    ///   its error is told again only while no other partition is left to wait for.
    /// - `Tls`, `Authentication`, `UnsupportedVersion`: a broker cannot be fetched from; trying goes on.
    /// - `Serialization` or `Registry`: a deserializer could not get what a payload needs; the batch is kept, and the
    ///   next `poll` tries again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Option<Batch<K, V>>> {
        self.poll_where(|_| false).await
    }

    /// The next batch, if there is one within `wait`; `None` if not, and after [`close`](Self::close).
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn poll_for(&mut self, wait: Duration) -> Result<Option<Batch<K, V>>> {
        timeout_at(Instant::now() + wait, self.poll()).await.unwrap_or(Ok(None))
    }

    /// The next batch, or `None` once the position of every partition of `ends` has reached its end there. The last
    /// batches may hold records behind it, which were written meanwhile.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn poll_to(&mut self, ends: &Ends) -> Result<Option<Batch<K, V>>> {
        self.poll_where(|fetcher| {
            ends.0.iter().all(|(name, end)| fetcher.position(name).is_some_and(|position| position >= *end))
        })
        .await
    }

    /// Asks the brokers where the assigned partitions end now: behind the last replicated record, or, with
    /// [`IsolationLevel::ReadCommitted`], before the first open transaction.
    ///
    /// # Errors
    /// A leader did not answer within `api_timeout`, or answered with an error.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up and changes nothing.
    pub async fn ends(&self) -> Result<Ends> {
        let mut ends = Vec::new();
        let mut open = self.assignment();
        let deadline = Instant::now() + self.settings.api_timeout;
        let backoff = self.cluster.config().retry_backoff;
        let mut failures = 0;
        loop {
            let outcome = self.ask_ends(&mut open, &mut ends).await;
            failures += 1;
            let again = Instant::now() + backoff.delay(failures, fastrand::f64());
            match outcome {
                Ok(()) => return Ok(Ends(ends)),
                Err(error) if !error.is_retriable() || again >= deadline => return Err(error),
                Err(_) => self.cluster.request_refresh(),
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// Moves partitions from `open` to `ends` as leaders answer for them.
    async fn ask_ends(&self, open: &mut Vec<TopicPartition>, ends: &mut Vec<(TopicPartition, Offset)>) -> Result<()> {
        while let Some(first) = open.first() {
            let metadata = self.cluster.metadata();
            let leader_of = |name: &TopicPartition| -> Option<(BrokerId, i32)> {
                let topic = metadata.topic(&name.topic)?;
                let partition = topic.partitions.get(usize::try_from(name.partition).ok()?)?;
                Some((partition.leader?, partition.leader_epoch))
            };
            let Some((broker, _)) = leader_of(first) else {
                let code = ErrorCode::LEADER_NOT_AVAILABLE;
                return Err(Error::broker(code, format_args!("the end of {first}")));
            };
            let led = open.iter().enumerate().filter_map(|(slot, name)| {
                let (_, leader_epoch) = leader_of(name).filter(|(leader, _)| *leader == broker)?;
                let timestamp = crate::machine::fetch::END;
                Some(LookupPart { slot, name: name.clone(), timestamp, leader_epoch })
            });
            let plan = LookupPlan { ticket: 0, broker, parts: led.collect() };
            let timeout = self.terms.timeout;
            let request = exchange::lookup_request(&plan, self.terms.isolation, timeout);
            let response = self.cluster.call(To::Broker(broker), Traffic::Other, &request, timeout).await?;
            let replies = exchange::read_offsets(&plan, &response);
            for reply in &replies {
                if reply.error != ErrorCode::NONE {
                    return Err(Error::broker(reply.error, format_args!("the end of {}", open[reply.slot])));
                }
            }
            if replies.is_empty() {
                return Err(exchange::protocol(format!("broker {broker} did not say where {first} ends")));
            }
            ends.extend(replies.iter().map(|reply| (open[reply.slot].clone(), reply.offset)));
            open.retain(|name| !ends.iter().any(|(done, _)| done == name));
        }
        Ok(())
    }

    async fn poll_where(&mut self, done: impl Fn(&Fetcher<Fetched>) -> bool) -> Result<Option<Batch<K, V>>> {
        // A loop over buffered batches never waits by itself: other tasks, ours among them, need their turn.
        consume_budget().await;
        if std::mem::take(&mut self.give_way) {
            yield_now().await;
        }
        loop {
            if self.shared.is_closed() || (self.decoded.is_none() && done(&self.shared.fetcher())) {
                return Ok(None);
            }
            if self.decoded.is_none() {
                self.decoded = self.decode_next()?;
            }
            match &self.decoded {
                // Until it is prepared the batch stays here: a future dropped at this await has lost nothing.
                Some(batch) => batch.prepare().await?,
                None if done(&self.shared.fetcher()) => return Ok(None),
                None => {
                    self.shared.ready.notified().await;
                    continue;
                }
            }
            if let Some(batch) = self.decoded.take().filter(|batch| self.delivered(batch)) {
                return Ok(Some(batch));
            }
        }
    }

    /// Takes batches off the buffer until one holds a record for the user.
    fn decode_next(&mut self) -> Result<Option<Batch<K, V>>> {
        loop {
            let ready = {
                let mut fetcher = self.shared.fetcher();
                if let Some(error) = fetcher.poll_error() {
                    return Err(error);
                }
                match fetcher.poll_ready() {
                    Some(ready) => ready,
                    None => return Ok(None),
                }
            };
            let (cursor, next) = (ready.cursor, ready.piece.next_offset);
            let owed = ready.piece.base_offset.max(ready.from);
            let name = ready.name.clone();
            match self.decode(ready) {
                Ok(Some(batch)) => {
                    self.shared.fetcher().handle_decoded(cursor, batch.records.data.len());
                    return Ok(Some(batch));
                }
                Ok(None) => drop(self.settle(cursor, next)),
                Err(error) => {
                    tracing::warn!(partition = %name, offset = owed, %error, "damaged batch");
                    let error = damaged(&name, owed, error);
                    self.shared.fetcher().handle_corrupt(Instant::now().into_std(), cursor, owed, error);
                    self.shared.wake.notify_one();
                }
            }
        }
    }

    fn delivered(&mut self, batch: &Batch<K, V>) -> bool {
        self.settle(batch.cursor, batch.next)
    }

    /// The position passes a batch. False: it is not the user's any more, the partition was sought or taken away.
    fn settle(&mut self, cursor: crate::machine::fetch::Cursor, next: Offset) -> bool {
        let mut fetcher = self.shared.fetcher();
        let current = fetcher.handle_delivered(cursor, next);
        if fetcher.has_room_again() {
            self.give_way = true;
            self.shared.wake.notify_one();
        }
        current
    }

    /// Checks, decompresses and walks a batch. `None`: nothing in it is for the user.
    fn decode(&mut self, mut ready: Ready<Fetched>) -> Result<Option<Batch<K, V>>> {
        let (raw, hidden) = match ready.piece.batch {
            Fetched::Batch { batch, hidden } => (batch, hidden),
            Fetched::Damaged(error) => return Err(error),
        };
        if self.settings.check_crcs && !plant::is(Plant::IgnoreCrc) {
            raw.check_crc()?;
        }
        if hidden {
            return Ok(None);
        }
        if plant::is(Plant::BeforeOffset) {
            ready.from = 0;
        }
        let records = raw.decode(&mut self.scratch, self.settings.batch_max_bytes)?;
        let (mut first, mut last, mut len) = (None, 0, 0);
        for record in records.records() {
            let offset = record?.offset;
            if offset >= ready.from {
                first.get_or_insert(offset);
                (last, len) = (offset, len + 1);
            }
        }
        Ok(first.map(|first| Batch {
            topic: ready.name.topic,
            partition: ready.name.partition,
            records,
            from: ready.from,
            first,
            last,
            next: ready.piece.next_offset,
            len,
            high_watermark: ready.watermarks.high,
            cursor: ready.cursor,
            fields: self.fields.clone(),
        }))
    }
}

impl IsolationLevel {
    /// Where reading ends at this level.
    fn end_of(self, watermarks: crate::machine::fetch::Watermarks) -> Offset {
        match self {
            Self::ReadUncommitted => watermarks.high,
            Self::ReadCommitted => watermarks.stable,
        }
    }
}

impl<K, V> fmt::Debug for Consumer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("assignment", &self.assignment()).finish_non_exhaustive()
    }
}

impl<K, V> Drop for Consumer<K, V> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Whether the cluster has told of this partition.
fn exists(metadata: &Metadata, name: &TopicPartition) -> bool {
    let count = metadata.topic(&name.topic).map_or(0, |topic| topic.partitions.len());
    usize::try_from(name.partition).is_ok_and(|partition| partition < count)
}

/// Says where the damage is and how to get past it.
fn damaged(name: &TopicPartition, offset: Offset, cause: Error) -> Error {
    let text =
        format!("{name}: the batch at offset {offset} is damaged: {cause}; fetched twice; seek past it to go on");
    Error::new(ErrorKind::CorruptBatch, text).with_source(cause)
}
