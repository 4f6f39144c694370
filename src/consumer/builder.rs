//! How a consumer is configured.
//!
//! Rules this file keeps:
//! - every setting has a safe default, a unit and the name of the Java property that means the same;
//! - a value that cannot work is refused before a broker is asked.

use std::{sync::Arc, time::Duration};

use crate::{
    cluster::Cluster,
    error::{Error, ErrorKind, Result},
    machine::fetch::{FetchConfig, StartFrom},
    properties::{ConsumerSettings, OffsetReset},
    serdes::Bytes,
    types::TopicPartition,
    wire::Str,
};

use super::{Consumer, Field, IsolationLevel, Typed, exchange::Terms};

/// Configures a [`Consumer`]; made by `Kafka::consumer()`. The defaults named here are replaced by the properties that
/// the client was made with.
#[must_use = "a builder does nothing until `assign`"]
#[derive(Debug, Clone)]
pub struct ConsumerBuilder<K = Bytes, V = Bytes> {
    cluster: Cluster,
    settings: Settings,
    key: K,
    value: V,
}

/// The values behind the setters.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) fetch_max_bytes: usize,
    pub(super) partition_max_bytes: usize,
    pub(super) fetch_min_bytes: usize,
    pub(super) fetch_max_wait: Duration,
    pub(super) read_ahead: usize,
    pub(super) batch_max_bytes: usize,
    pub(super) check_crcs: bool,
    pub(super) isolation: IsolationLevel,
    pub(super) reset: OffsetReset,
    pub(super) rack: Str,
    pub(super) api_timeout: Duration,
    /// `None`: the client's.
    pub(super) request_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fetch_max_bytes: 8 << 20,
            partition_max_bytes: 1 << 20,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            read_ahead: 24 << 20,
            batch_max_bytes: 256 << 20,
            check_crcs: true,
            isolation: IsolationLevel::default(),
            reset: OffsetReset::default(),
            rack: Str::default(),
            api_timeout: Duration::from_secs(60),
            request_timeout: None,
        }
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, settings: Settings::default(), key: Bytes, value: Bytes }
    }
}

impl<K, V> ConsumerBuilder<K, V> {
    /// Takes over what Java's property names configure; setters called later win.
    pub fn settings(mut self, from: ConsumerSettings) -> Self {
        let isolation =
            if from.read_committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        self.settings = Settings {
            fetch_max_bytes: at_least_zero(from.fetch_max_bytes).max(1),
            partition_max_bytes: at_least_zero(from.max_partition_fetch_bytes).max(1),
            fetch_min_bytes: at_least_zero(from.fetch_min_bytes),
            fetch_max_wait: from.fetch_max_wait,
            check_crcs: from.check_crcs,
            isolation,
            reset: from.auto_offset_reset,
            rack: from.client_rack.into(),
            api_timeout: from.default_api_timeout,
            request_timeout: Some(from.request_timeout),
            ..self.settings
        };
        self
    }

    /// Reads keys with `deserializer`. Default: keys are bytes. Java: `key.deserializer`.
    pub fn key<D>(self, deserializer: D) -> ConsumerBuilder<Typed<D>, V> {
        let Self { cluster, settings, value, .. } = self;
        ConsumerBuilder { cluster, settings, key: Typed(deserializer), value }
    }

    /// Reads values with `deserializer`. Default: values are bytes. Java: `value.deserializer`.
    pub fn value<D>(self, deserializer: D) -> ConsumerBuilder<K, Typed<D>> {
        let Self { cluster, settings, key, .. } = self;
        ConsumerBuilder { cluster, settings, key, value: Typed(deserializer) }
    }

    /// The most that one response is asked to hold, in bytes. Default 8 MiB (Java: 50 MiB). Java: `fetch.max.bytes`.
    /// Higher: responses outgrow the processor's cache and cost more per record.
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.fetch_max_bytes = bytes;
        self
    }

    /// The most per partition in one response, in bytes; a single larger batch comes all the same.
    /// Default 1 MiB. Java: `max.partition.fetch.bytes`. Higher: few partitions fill a response while others wait.
    pub fn partition_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.partition_max_bytes = bytes;
        self
    }

    /// How many bytes must be there before a broker answers, unless `fetch_max_wait` is over first.
    /// Default 1. Java: `fetch.min.bytes`. Higher: fewer, fuller responses, and the last records come late.
    pub fn fetch_min_bytes(mut self, bytes: usize) -> Self {
        self.settings.fetch_min_bytes = bytes;
        self
    }

    /// How long a broker may wait for `fetch_min_bytes`. Default 500 ms. Java: `fetch.max.wait.ms`.
    /// Higher: a partition that gets assigned or sought waits longer for its first fetch.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.settings.fetch_max_wait = wait;
        self
    }

    /// The most that is fetched ahead of `poll` and not yet delivered, in bytes, requests under way included; a batch
    /// counts decompressed from the moment it is. Default 24 MiB; no Java property means this. Higher: more memory.
    /// A single batch that is larger is still delivered.
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.settings.read_ahead = bytes;
        self
    }

    /// The most that one batch may decompress to, in bytes. Default 256 MiB; no Java property means this.
    /// Higher: a malicious batch can take more memory before it is refused.
    pub fn batch_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_max_bytes = bytes;
        self
    }

    /// Whether checksums are checked. Default true. Java: `check.crcs`. Without it, damage on disk or on the way
    /// reaches you as wrong values; it saves a tenth of the cost of a record.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.settings.check_crcs = check;
        self
    }

    /// Whether records of open and aborted transactions are seen. Default: they are. Java: `isolation.level`.
    pub fn isolation(mut self, level: IsolationLevel) -> Self {
        self.settings.isolation = level;
        self
    }

    /// What to do when the position does not exist any more. Default [`OffsetReset::Latest`]. Java:
    /// `auto.offset.reset`. A topic that was deleted and made again is read from its beginning, or under
    /// [`OffsetReset::None`] not at all until a seek: all that it holds is new.
    pub fn offset_reset(mut self, reset: OffsetReset) -> Self {
        self.settings.reset = reset;
        self
    }

    /// The rack this program runs in; brokers may then name a nearer replica to read from (KIP-392).
    /// Default none. Java: `client.rack`.
    pub fn rack(mut self, rack: impl Into<Str>) -> Self {
        self.settings.rack = rack.into();
        self
    }

    /// How long unknown topics are asked for, and how long a partition may be without success before `poll` says so.
    /// Default 60 s. Java: `default.api.timeout.ms`. Higher: errors come later.
    pub fn api_timeout(mut self, timeout: Duration) -> Self {
        self.settings.api_timeout = timeout;
        self
    }
}

impl<K: Field, V: Field> ConsumerBuilder<K, V> {
    /// Starts a consumer that reads these partitions, each from where it is told. No group, nothing is committed.
    ///
    /// # Errors
    /// `Config`: a setting cannot work. `UnknownTopic`: the cluster does not know a topic within `api_timeout`, or a
    /// partition. `Broker`: access to a topic is denied.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn assign(
        self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartFrom)>,
    ) -> Result<Consumer<K, V>> {
        self.settings.check(self.cluster.config().net.max_frame)?;
        let mut consumer = Consumer::new(self.cluster, self.settings, (self.key, self.value));
        consumer.assign(partitions).await?;
        Ok(consumer)
    }
}

impl Settings {
    fn check(&self, max_frame: usize) -> Result<()> {
        let sizes = [
            ("fetch.max.bytes", self.fetch_max_bytes),
            ("max.partition.fetch.bytes", self.partition_max_bytes),
            ("read_ahead", self.read_ahead),
            ("batch_max_bytes", self.batch_max_bytes),
        ];
        // A reply holds what was asked for and one batch more; one over the connection's limit would be refused for ever.
        let most = (max_frame / 2).min(i32::MAX as usize);
        let limit = |name: &str| if name.contains("fetch") { most } else { i32::MAX as usize };
        match sizes.iter().find(|(name, bytes)| *bytes == 0 || *bytes > limit(name)) {
            None => Ok(()),
            Some((name, bytes)) => {
                Err(Error::new(ErrorKind::Config, format!("{name} is {bytes}; it must be in 1..={}", limit(name))))
            }
        }
    }

    pub(super) fn machine(&self, cluster: &Cluster) -> FetchConfig {
        let config = cluster.config();
        FetchConfig {
            max_bytes: self.fetch_max_bytes,
            partition_max_bytes: self.partition_max_bytes,
            budget: self.read_ahead,
            backoff: config.retry_backoff.base,
            backoff_max: config.retry_backoff.max,
            reset: self.reset,
            patience: self.api_timeout,
            follower_age: config.metadata_max_age,
        }
    }

    pub(super) fn terms(&self, cluster: &Cluster) -> Arc<Terms> {
        Arc::new(Terms {
            min_bytes: self.fetch_min_bytes,
            max_wait: self.fetch_max_wait,
            isolation: self.isolation,
            rack: self.rack.clone(),
            timeout: self.request_timeout.unwrap_or(cluster.config().request_timeout),
        })
    }
}

fn at_least_zero(bytes: i32) -> usize {
    bytes.try_into().unwrap_or(0)
}
