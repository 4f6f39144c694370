//! How a producer is configured.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    cluster::Cluster,
    error::{Error, ErrorKind, Result},
    properties::ProducerSettings,
    record::{CHUNK, Compression},
    serdes,
    types::FOREVER,
    wire::Str,
};

use super::{
    Core, Producer, TransactionalProducer,
    compressor::Codec,
    interceptor::{Interceptors, ProducerInterceptor},
    partitioner::{Partitioning, Spread},
    transaction,
};

/// Makes a [`Producer`]. Every setter names its Java property, its default, and what gets worse when it is raised. The
/// defaults named here are replaced by the properties that the client was made with.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until `build` is awaited"]
pub struct ProducerBuilder<K = serdes::Bytes, V = serdes::Bytes> {
    cluster: Cluster,
    settings: Settings,
    idempotence: Option<bool>,
    key: K,
    value: V,
}

/// How many brokers must have a record before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// No answer is waited for; records may be lost without notice, and their offsets are not known (`0`).
    None,
    /// The leader alone; records are lost when it dies before the others have them (`1`).
    Leader,
    /// All replicas in sync (`all`, `-1`).
    All,
}

impl Acks {
    pub(super) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a producer runs with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) acks: Acks,
    pub(super) idempotent: bool,
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
    pub(super) compression_level: Option<i32>,
    pub(super) topic_compression: BTreeMap<Str, Codec>,
    pub(super) topic_metrics: bool,
    pub(super) interceptors: Interceptors,
    pub(super) max_in_flight: usize,
    pub(super) retries: u32,
    pub(super) delivery_timeout: Duration,
    pub(super) buffer_memory: usize,
    pub(super) max_block: Duration,
    pub(super) max_request_size: usize,
    pub(super) request_bytes: usize,
    pub(super) transaction_timeout: Duration,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction: Option<transaction::Settings>,
    pub(super) partitioning: Partitioning,
    pub(super) spread: Arc<Spread>,
}

impl ProducerBuilder {
    /// A producer of bytes with these settings.
    pub(crate) fn new(cluster: Cluster, settings: Settings) -> Self {
        let idempotence = Some(settings.idempotent);
        Self { cluster, settings, idempotence, key: serdes::Bytes, value: serdes::Bytes }
    }
}

impl<K, V> ProducerBuilder<K, V> {
    /// How keys become bytes. Default: they are bytes already. Java: `key.serializer`.
    pub fn key<S>(self, key: S) -> ProducerBuilder<S, V> {
        let Self { cluster, settings, idempotence, value, .. } = self;
        ProducerBuilder { cluster, settings, idempotence, key, value }
    }

    /// How values become bytes. Default: they are bytes already. Java: `value.serializer`.
    pub fn value<S>(self, value: S) -> ProducerBuilder<K, S> {
        let Self { cluster, settings, idempotence, key, .. } = self;
        ProducerBuilder { cluster, settings, idempotence, key, value }
    }

    /// How many brokers must have a record. Default: all in sync. Java: `acks`. Anything less than `All` also gives up
    /// idempotence, and with it the promise that nothing is written twice or out of order; asking for idempotence after
    /// that makes `build` fail.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        if acks != Acks::All {
            self.idempotence = None;
        }
        self
    }

    /// Whether records are written once and in order however often they have to be sent. Default: `true`. Java:
    /// `enable.idempotence`. It needs `Acks::All`, retries, and at most 5 requests in flight.
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.idempotence = Some(idempotence);
        self
    }

    /// How long a batch waits for more records. Default: 5 ms. Java: `linger.ms`. Raised: larger batches, fewer
    /// requests, later records. Records join a batch longer than that while its broker is behind with the requests it
    /// has: one more would only stand in line there.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Bytes of a batch before it is closed, uncompressed. Default: 1,000,000. Java: `batch.size` (16,384 there).
    /// Raised: more memory per partition under load; above the broker's `message.max.bytes` (1,048,588) batches that do
    /// not compress are refused.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.settings.batch_size = bytes;
        self
    }

    /// The codec of batches. Default: none. Java: `compression.type`. Compression runs on the runtime's blocking
    /// threads, several partitions at once.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// The codec's level, where it has levels: gzip 1 to 9, zstd -131,072 to 22; LZ4 has one whatever is said. Default:
    /// the codec's own, 6 and 3. Java: `compression.gzip.level`, `compression.zstd.level`. Raised: more CPU per byte.
    pub fn compression_level(mut self, level: i32) -> Self {
        self.settings.compression_level = Some(level);
        self
    }

    /// The codec of one topic's batches and its level, instead of those of all; without a level, the codec's own.
    /// Default: no topic has its own. Java has no such setting; librdkafka: `compression.codec` of a topic. A topic whose
    /// values are compressed already is best left alone by `Compression::None`.
    pub fn topic_compression(mut self, topic: impl Into<Str>, codec: Compression, level: Option<i32>) -> Self {
        self.settings.topic_compression.insert(topic.into(), Codec { compression: codec, level });
        self
    }

    /// Whether [`ProducerMetrics::topics`](super::ProducerMetrics::topics) tells each topic by itself. Default: `false`.
    /// Java does it always. Turned on: 6 KiB more for every topic that is written to.
    pub fn topic_metrics(mut self, by_topic: bool) -> Self {
        self.settings.topic_metrics = by_topic;
        self
    }

    /// One more [`ProducerInterceptor`](super::ProducerInterceptor); each sees what those before it have added.
    /// Default: none. Java: `interceptor.classes`.
    pub fn interceptor(mut self, interceptor: impl ProducerInterceptor) -> Self {
        self.settings.interceptors.push(interceptor);
        self
    }

    /// Requests that may be open on one connection. Default: 5, and no more with idempotence. Java:
    /// `max.in.flight.requests.per.connection`. Raised without idempotence: records may be reordered by a retry. Batches
    /// that are not full use no more of them than the network holds.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests;
        self
    }

    /// How often a batch may be sent again. Default: 2,147,483,647, so that `delivery_timeout` decides. Java:
    /// `retries`. Raised: nothing, if `delivery_timeout` is what you want; lowered, a short outage loses records.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// How long a record may take from `enqueue` to its acknowledgement. Default: 120 s. Java: `delivery.timeout.ms`. A
    /// batch that is on the wire then is waited for, for the client's `request.timeout.ms` at the most.
    /// Raised: a dead broker is reported later; what waits for it holds its memory longer. Below the sum of `linger`
    /// and the client's `request.timeout.ms` a record may fail before its first answer could come; it is not refused
    /// here.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// Bytes that records may hold until they are acknowledged, taken 32 KiB at a time. Default: 32 MiB. Java:
    /// `buffer.memory`. Raised: more memory, and more records in doubt when a broker dies.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.settings.buffer_memory = bytes;
        self
    }

    /// How long `enqueue` may wait for memory and for a topic to be known, both together. Default: 60 s. Java:
    /// `max.block.ms`. Raised: callers hang longer while no broker answers.
    pub fn max_block(mut self, time: Duration) -> Self {
        self.settings.max_block = time;
        self
    }

    /// Bytes of the largest record, before compression and with its batch's header. Default: 1,048,576. Java:
    /// `max.request.size`; unlike there, it does not bound the request: [`request_bytes`](Self::request_bytes) does. Raised
    /// above the topic's `max.message.bytes`: the broker refuses the record instead of `enqueue`.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.settings.max_request_size = bytes;
        self
    }

    /// Bytes of the batches of one request, after compression; a batch that is larger goes alone. Default: 8 MiB. Java has
    /// no such setting: its `max.request.size` bounds records and requests alike, by 1 MiB. Raised: fewer and larger
    /// requests to brokers that lead many partitions, of which one that is lost is sent again whole; above the broker's
    /// `socket.request.max.bytes` (100 MiB) it closes the connection.
    pub fn request_bytes(mut self, bytes: usize) -> Self {
        self.settings.request_bytes = bytes;
        self
    }

    /// How long a transaction may be open before the coordinator aborts it, and with it fences its producer. Default:
    /// 60 s. Java: `transaction.timeout.ms`. Raised: what a dead producer left open holds back consumers of committed
    /// records for longer; above the broker's `transaction.max.timeout.ms` (15 min) it is refused.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transaction_timeout = timeout;
        self
    }

    /// The transactional id among the properties that the client was made with. Java: `transactional.id`.
    pub fn transactional_id(&self) -> Option<&str> {
        self.settings.transactional_id.as_deref()
    }

    /// Starts a producer of transactions under this id, which has to be the same one after a restart and no other
    /// producer's. Asks the id's coordinator for an identity (InitProducerId): older producers of the id are fenced, and
    /// what they had left open is aborted. Java: `transactional.id`, `initTransactions`.
    ///
    /// # Errors
    /// `Config` when settings contradict each other: transactions need idempotence and with it `Acks::All`. `Broker` where
    /// the id or its timeout is refused; `Timeout` if no coordinator answers within `max.block.ms`.
    ///
    /// # Cancel safety
    /// If the future is dropped, older producers may be fenced all the same.
    pub async fn transactional(mut self, id: impl Into<Str>) -> Result<TransactionalProducer<K, V>> {
        let (id, link) = (id.into(), Arc::default());
        let timeout = self.settings.transaction_timeout;
        let refuse = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if id.is_empty() {
            return refuse("a transactional.id is not empty");
        }
        if self.settings.acks != Acks::All || self.idempotence == Some(false) {
            return refuse("a transactional.id needs enable.idempotence=true and acks=all");
        }
        if timeout.as_millis() == 0 || timeout.as_millis() > i32::MAX as u128 {
            return refuse("transaction.timeout.ms is between 1 and 2147483647");
        }
        self.settings.transactional_id = None;
        self.settings.transaction = Some(transaction::Settings { id, timeout, link: Arc::clone(&link) });
        TransactionalProducer::start(self.start()?, link).await
    }

    /// How a record finds its partition that names none: one of [`Partitioning`], or a
    /// [`Partitioner`](super::Partitioner) of the program's own. Default: murmur2 of the key, and partitions in turns
    /// without one. Java: `partitioner.class`; librdkafka: `partitioner`. Changed for a topic that holds records: keys
    /// move, and the order of a key's records is lost.
    pub fn partitioner(mut self, partitioning: impl Into<Partitioning>) -> Self {
        self.settings.partitioning = partitioning.into();
        self
    }

    /// Whether partitions with fewer batches waiting get more of the records that may go anywhere (KIP-794), so that a
    /// slow broker gets less. Default: `true`. Java: `partitioner.adaptive.partitioning.enable`.
    pub fn adaptive_partitioning(mut self, adaptive: bool) -> Self {
        Arc::make_mut(&mut self.settings.spread).adaptive = adaptive;
        self
    }

    /// A broker that has taken nothing for so long gets none of the records that may go anywhere, until it does
    /// (KIP-794). Without `adaptive_partitioning` it has no effect. Default: zero, which is never. Java:
    /// `partitioner.availability.timeout.ms`. Raised: more records wait for a broker that hangs.
    pub fn partitioner_availability_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.settings.spread).availability_timeout = timeout;
        self
    }

    /// Sends records that may go anywhere to partitions whose leader is in this rack, while there are any (KIP-1123).
    /// Default: none, racks do not count. Java: `client.rack`, with `partitioner.rack.aware`. With producers or leaders
    /// in few racks, partitions fill unevenly.
    pub fn rack_aware(mut self, rack: impl Into<Str>) -> Self {
        Arc::make_mut(&mut self.settings.spread).rack = Some(rack.into()).filter(|rack: &Str| !rack.trim().is_empty());
        self
    }

    /// Starts the producer. The broker is first spoken to when the first record is enqueued.
    ///
    /// # Errors
    /// `Config` when settings contradict each other.
    ///
    /// # Cancel safety
    /// Nothing is awaited: the future is ready at its first poll.
    pub async fn build(self) -> Result<Producer<K, V>> {
        self.start()
    }

    fn start(self) -> Result<Producer<K, V>> {
        let mut settings = self.settings;
        settings.idempotent = self.idempotence.unwrap_or(settings.acks == Acks::All);
        settings.check()?;
        for time in [&mut settings.linger, &mut settings.delivery_timeout, &mut settings.max_block] {
            *time = FOREVER.min(*time);
        }
        let handle = Core::start(self.cluster, settings);
        Ok(Producer { handle, key: Arc::new(self.key), value: Arc::new(self.value) })
    }
}

impl Settings {
    pub(crate) fn new(settings: &ProducerSettings) -> Result<Self> {
        Ok(Self {
            acks: match settings.acks {
                0 => Acks::None,
                1 => Acks::Leader,
                _ => Acks::All,
            },
            idempotent: settings.enable_idempotence,
            batch_size: settings.batch_size,
            linger: settings.linger,
            compression: settings.compression_type.parse()?,
            compression_level: settings.compression_level,
            topic_compression: BTreeMap::new(),
            topic_metrics: false,
            interceptors: Interceptors::default(),
            max_in_flight: settings.max_in_flight,
            retries: settings.retries,
            delivery_timeout: settings.delivery_timeout,
            buffer_memory: settings.buffer_memory,
            max_block: settings.max_block,
            max_request_size: settings.max_request_size,
            request_bytes: REQUEST_BYTES,
            transaction_timeout: settings.transaction_timeout,
            transactional_id: settings.transactional_id.clone(),
            transaction: None,
            partitioning: settings.partitioner.parse()?,
            spread: Arc::new(Spread {
                adaptive: settings.adaptive_partitioning,
                availability_timeout: settings.availability_timeout,
                rack: settings.partitioner_rack.as_deref().map(Str::from),
            }),
        })
    }

    /// Whether any topic's batches are compressed.
    pub(super) fn compresses(&self) -> bool {
        self.compression != Compression::None || !self.topic_compression.is_empty()
    }

    /// How batches of a topic are compressed.
    pub(super) fn codec(&self, topic: &str) -> Codec {
        let all = Codec { compression: self.compression, level: self.compression_level };
        self.topic_compression.get(topic).copied().unwrap_or(all)
    }

    fn check(&self) -> Result<()> {
        if let Some(level) = self.compression_level {
            self.compression.check_level(level)?;
        }
        for codec in self.topic_compression.values() {
            codec.level.map_or(Ok(()), |level| codec.compression.check_level(level))?;
        }
        let refuse = |message: &str| Err(Error::new(ErrorKind::Config, message));
        match self {
            Self { idempotent: true, acks: Acks::None | Acks::Leader, .. } => {
                refuse("enable.idempotence=true needs acks=all")
            }
            Self { idempotent: true, max_in_flight: 6.., .. } => {
                refuse("enable.idempotence=true allows at most 5 for max.in.flight.requests.per.connection")
            }
            Self { idempotent: true, retries: 0, .. } => refuse("enable.idempotence=true needs retries above 0"),
            Self { transactional_id: Some(_), .. } => {
                refuse("transactional.id is set: end the builder with `transactional`, not with `build`")
            }
            Self { buffer_memory: 0..CHUNK, .. } => {
                refuse("buffer.memory is at least 32768: memory is taken in chunks of that size")
            }
            Self { max_in_flight: 0, .. } => refuse("max.in.flight.requests.per.connection must be at least 1"),
            _ => Ok(()),
        }
    }
}

/// Batches of one request, in bytes. Far below what brokers accept (100 MiB).
const REQUEST_BYTES: usize = 8 << 20;
