//! What a cluster is to be like, and how it starts.
//!
//! Rules this file keeps:
//! - every setting has a default that needs no thought, and a bound where a peer could use it up;
//! - nothing listens before all settings are found valid.

mod security;

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};

#[cfg(feature = "tls")]
use super::tls::TlsSettings;
use super::{
    Api, EmbeddedCluster, RETENTION_INTERVAL, Shared, Slot,
    configs::Values,
    listener::{Endpoint, Listener, Reserved},
    presets::{Changes, KafkaVersion},
    registry::RegistryServer,
    sasl::Sasl,
    server::Server,
    timers::{self, Timer},
};
use crate::{Error, ErrorKind, Result, memory::MemoryNetwork, types::FOREVER};

/// What a cluster is to be like. Made by [`EmbeddedCluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    settings: Settings,
    listen: String,
    network: Option<MemoryNetwork>,
    topics: Vec<(String, i32)>,
    registry: Option<String>,
    registry_path: String,
}

impl Builder {
    /// The number of brokers, each on a port of its own. Default: 1.
    ///
    /// Leaders are spread evenly. Without [`replication_factor`](Self::replication_factor) partitions have one replica
    /// each, and a partition is gone while its leader is.
    pub fn brokers(mut self, count: i32) -> Self {
        self.settings.brokers = count;
        self
    }

    /// How many brokers hold each partition of a topic that does not say so itself. All of them see one log, so that a
    /// replica that lives has every record; when a leader dies, the next one in sync takes over. Default: 1.
    /// Kafka's property: `default.replication.factor`.
    pub fn replication_factor(mut self, replicas: i16) -> Self {
        self.settings.replication_factor = replicas;
        self
    }

    /// Creates a topic at the start. May be called again for more.
    pub fn topic(mut self, name: impl Into<String>, partitions: i32) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// Where the first broker listens; further ones take the next ports. Port 0 picks free ones.
    /// Default: `127.0.0.1:0`. Kafka's property: `listeners`.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Listens in a network inside this process instead of on sockets: broker 0 at `broker-0:9092` and so on. Clients
    /// reach it by `Kafka::builder().memory_network(&network)`. Default: sockets.
    pub fn memory(mut self, network: &MemoryNetwork) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// The time of day at the start, in milliseconds since 1970. Default: the network's, if it has one, or the
    /// system's.
    pub fn start_time_millis(mut self, millis: i64) -> Self {
        self.settings.start_time_millis = Some(millis);
        self
    }

    /// The host that clients are told to connect to. Default: the address listened at, or `localhost` for all
    /// addresses. Kafka's property: `advertised.listeners`.
    pub fn advertised_host(mut self, host: impl Into<String>) -> Self {
        self.settings.advertised_host = Some(host.into());
        self
    }

    /// The racks that brokers say they are in: the first broker the first one, and from the start again when there are
    /// more brokers. Default: none. Kafka's property: `broker.rack`.
    pub fn racks<R: Into<String>>(mut self, racks: impl IntoIterator<Item = R>) -> Self {
        self.settings.racks = racks.into_iter().map(Into::into).collect();
        self
    }

    /// Starts a Schema Registry as well, on a free port of the loopback. Default: none.
    pub fn with_registry(self) -> Self {
        self.registry_listen("127.0.0.1:0")
    }

    /// Starts a Schema Registry that listens here.
    pub fn registry_listen(mut self, address: impl Into<String>) -> Self {
        self.registry = Some(address.into());
        self
    }

    /// The path that all of the registry's URLs begin with, such as `/registry`. Default: none.
    pub fn registry_path(mut self, path: impl Into<String>) -> Self {
        self.registry_path = path.into();
        self
    }

    /// Creates a topic with so many partitions when a client asks for the metadata of one that does not exist.
    /// Default: off. Kafka's properties: `auto.create.topics.enable`, `num.partitions`.
    pub fn auto_create_topics(mut self, partitions: i32) -> Self {
        self.settings.auto_create_topics = Some(partitions);
        self.settings.default_partitions = partitions;
        self
    }

    /// The largest batch in bytes that is accepted. Default: 1 MiB and 12 bytes, as Kafka's `message.max.bytes`.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes;
        self
    }

    /// The largest request in bytes that is read; a connection that announces more is closed.
    /// Default: 100 MiB, as Kafka's `socket.request.max.bytes`. Raising it raises what each connection can take.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_request_bytes = bytes;
        self
    }

    /// The most bytes of records in one answer to Fetch, unless its first batch is larger. Default: 55 MiB, as Kafka's
    /// `fetch.max.bytes` of brokers. Answers take no memory: they refer to the logs.
    pub fn max_fetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_fetch_bytes = bytes;
        self
    }

    /// The memory in bytes that all logs together may take. Beyond it the oldest segment of the cluster is dropped,
    /// and the log start offset of its partition moves. Default: 1 GiB. Kafka's nearest property, `retention.bytes`,
    /// is for each partition.
    pub fn retention_bytes(mut self, bytes: usize) -> Self {
        self.settings.retention_bytes = bytes;
        self
    }

    /// How much of a partition is dropped at once, in bytes; never more than a quarter of the retention.
    /// Default: 16 MiB. Kafka's property: `log.segment.bytes`.
    pub fn segment_bytes(mut self, bytes: usize) -> Self {
        self.settings.segment_bytes = bytes;
        self
    }

    /// How many connections a broker holds at once; more are closed at once. Default: 1000.
    /// Kafka's property: `max.connections`.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.settings.max_connections = count;
        self
    }

    /// Refuses an idempotent producer that is not known and does not start at sequence 0, with
    /// UNKNOWN_PRODUCER_ID, as brokers before Kafka 2.5 did. Default: off, any first sequence is accepted.
    pub fn strict_producer_start(mut self, strict: bool) -> Self {
        self.settings.strict_producer_start = strict;
        self
    }

    /// The release of Kafka to pretend to be: which requests, versions and features are told of and served, as far as
    /// they are served at all. 2.1 also sets [`strict_producer_start`](Self::strict_producer_start).
    /// Default: the newest.
    pub fn version(mut self, version: KafkaVersion) -> Self {
        self.settings.version = version;
        self
    }

    /// Tells and serves these versions of a request instead of the release's, as far as they are served at all. That
    /// includes version 6 of TxnOffsetCommit, which no release has yet (KIP-1319).
    pub fn api_versions(mut self, api: Api, versions: RangeInclusive<i16>) -> Self {
        self.settings.changes.ranges.insert(api, Some(versions));
        self
    }

    /// Tells of no such request, and closes the connections that send it.
    pub fn without_api(mut self, api: Api) -> Self {
        self.settings.changes.ranges.insert(api, None);
        self
    }

    /// The finalized level of a feature at the start, such as `transaction.version`; 0 is none. Default: what a new
    /// cluster of the release has. [`EmbeddedCluster::set_feature`] changes it later.
    pub fn feature(mut self, name: impl Into<String>, level: i16) -> Self {
        self.settings.changes.features.insert(name.into(), level);
        self
    }

    /// How long a partition remembers an idempotent producer that appends nothing more and has no open transaction.
    /// Default: a day. Kafka's property: `producer.id.expiration.ms`; Kafka goes by the timestamps of the records.
    pub fn producer_id_expiration(mut self, time: Duration) -> Self {
        self.settings.producer_id_expiration = time.min(FOREVER);
        self
    }

    /// How long a transactional id is remembered after its last transaction. Default: 7 days.
    /// Kafka's property: `transactional.id.expiration.ms`.
    pub fn transactional_id_expiration(mut self, time: Duration) -> Self {
        self.settings.transactional_id_expiration = time.min(FOREVER);
        self
    }

    /// The longest transaction timeout that a producer may ask for; more is refused with INVALID_TRANSACTION_TIMEOUT.
    /// Default: 15 minutes. Kafka's property: `transaction.max.timeout.ms`.
    pub fn max_transaction_timeout(mut self, time: Duration) -> Self {
        self.settings.max_transaction_timeout = time.min(FOREVER);
        self
    }

    /// Whether the leader of a partition asks the coordinator before it appends the first batch of a transaction
    /// (KIP-890, part 1). Without that, as before Kafka 3.6, a late batch can open a transaction that never ends.
    /// Default: it does. Kafka's property: `transaction.partition.verification.enable`.
    pub fn transaction_verification(mut self, verify: bool) -> Self {
        self.settings.transaction_verification = verify;
        self
    }

    /// How long a transaction stays decided before its end is written into the partitions. Meanwhile its producer is
    /// told CONCURRENT_TRANSACTIONS, and committed records cannot be read yet. Default: none, the end is written before
    /// EndTxn is answered; Kafka takes some milliseconds.
    pub fn marker_delay(mut self, time: Duration) -> Self {
        self.settings.marker_delay = time.min(FOREVER);
        self
    }

    /// The memory in bytes that groups may take, all of them together: what members tell about themselves, their
    /// assignments, committed offsets. Beyond it joins are refused with GROUP_MAX_SIZE_REACHED and commits with
    /// INVALID_COMMIT_OFFSET_SIZE. Default: 256 MiB. Kafka has no such property.
    pub fn group_bytes(mut self, bytes: usize) -> Self {
        self.settings.group_bytes = bytes;
        self
    }

    /// The most members in a group; more are refused with GROUP_MAX_SIZE_REACHED. Default: 1000.
    /// Kafka's properties: `group.max.size`, `group.consumer.max.size`.
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.settings.group_max_size = members;
        self
    }

    /// The session timeouts that members of classic groups may ask for; others are refused with
    /// INVALID_SESSION_TIMEOUT. Default: 6 seconds to 30 minutes.
    /// Kafka's properties: `group.min.session.timeout.ms`, `group.max.session.timeout.ms`.
    pub fn session_timeouts(mut self, allowed: RangeInclusive<Duration>) -> Self {
        let (least, most) = allowed.into_inner();
        self.settings.session_timeouts = least.min(FOREVER)..=most.min(FOREVER);
        self
    }

    /// How long a member of a consumer group (KIP-848) may be silent before it is removed. Default: 45 seconds. Longer
    /// means that the partitions of a member that has died lie idle for longer.
    /// Kafka's property: `group.consumer.session.timeout.ms`.
    pub fn consumer_session_timeout(mut self, time: Duration) -> Self {
        self.settings.consumer_session_timeout = time.min(FOREVER);
        self
    }

    /// How often members of consumer groups (KIP-848) are told to send heartbeats. Default: 5 seconds. A rebalance
    /// takes a few of them. Kafka's property: `group.consumer.heartbeat.interval.ms`.
    pub fn consumer_heartbeat_interval(mut self, time: Duration) -> Self {
        self.settings.consumer_heartbeat_interval = time.min(FOREVER);
        self
    }

    /// How long the first rebalance of an empty classic group waits for more members. Default: none, as in the
    /// configuration that Kafka comes with; every member that comes later then costs a rebalance.
    /// Kafka's property: `group.initial.rebalance.delay.ms`.
    pub fn initial_rebalance_delay(mut self, time: Duration) -> Self {
        self.settings.initial_rebalance_delay = time.min(FOREVER);
        self
    }

    /// The most bytes of metadata with a committed offset; more is refused with OFFSET_METADATA_TOO_LARGE.
    /// Default: 4096. Kafka's property: `offset.metadata.max.bytes`.
    pub fn offset_metadata_bytes(mut self, bytes: usize) -> Self {
        self.settings.offset_metadata_bytes = bytes;
        self
    }

    /// How long committed offsets are kept after the last member of a group has left (KIP-211), or after the last
    /// commit where nobody was in it. Default: 7 days. Kafka's property: `offsets.retention.minutes`.
    pub fn offsets_retention(mut self, time: Duration) -> Self {
        self.settings.offsets_retention = time.min(FOREVER);
        self
    }

    /// Binds all sockets and starts serving.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a setting, an address or a topic is not valid, [`ErrorKind::Io`] if an address cannot
    /// be listened at.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future stops what was started.
    pub async fn start(self) -> Result<EmbeddedCluster> {
        let Self { mut settings, listen, network, topics, registry, registry_path } = self;
        let time_of_day = network.as_ref().and_then(MemoryNetwork::now_millis);
        if !(1..=MAX_BROKERS).contains(&settings.brokers) {
            let message = format!("a cluster has 1 to {MAX_BROKERS} brokers, not {}", settings.brokers);
            return Err(Error::new(ErrorKind::Config, message));
        }
        settings.strict_producer_start |= settings.version == KafkaVersion::V2_1;
        settings.transaction_verification &= settings.version >= KafkaVersion::V3_9;
        let listeners = match network {
            Some(network) => listen_in(&network, settings.brokers)?,
            None => bind_all(&listen, settings.brokers).await?,
        };
        settings.start_time_millis = settings.start_time_millis.or(time_of_day);
        let shared = Arc::new(Shared::new(settings, &listeners)?);
        let registry = match registry {
            Some(address) => Some(RegistryServer::start(bind_registry(&address).await?, &registry_path)?),
            None => None,
        };
        let servers = (0..)
            .zip(listeners)
            .map(|(id, (listener, _))| Slot::Up(Server::start(shared.clone(), id, listener)))
            .collect();
        shared.timers.set(Instant::now() + RETENTION_INTERVAL, Timer::Retention);
        let timers = tokio::spawn(timers::run(shared.clone()));
        let cluster = EmbeddedCluster { shared, servers: Mutex::new(servers), registry, timers };
        for (name, partitions) in topics {
            cluster.create_topic(&name, partitions)?;
        }
        Ok(cluster)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            listen: "127.0.0.1:0".to_owned(),
            network: None,
            topics: Vec::new(),
            registry: None,
            registry_path: String::new(),
        }
    }
}

/// What the setters of [`Builder`] set.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) brokers: i32,
    pub(super) advertised_host: Option<String>,
    pub(super) racks: Vec<String>,
    pub(super) auto_create_topics: Option<i32>,
    pub(super) default_partitions: i32,
    pub(super) replication_factor: i16,
    pub(super) max_message_bytes: usize,
    pub(super) max_request_bytes: usize,
    pub(super) max_fetch_bytes: usize,
    pub(super) retention_bytes: usize,
    pub(super) segment_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) strict_producer_start: bool,
    pub(super) start_time_millis: Option<i64>,
    pub(super) version: KafkaVersion,
    pub(super) changes: Changes,
    pub(super) sasl: Sasl,
    pub(super) handshake_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsSettings>,
    pub(super) producer_id_expiration: Duration,
    pub(super) transactional_id_expiration: Duration,
    pub(super) max_transaction_timeout: Duration,
    pub(super) marker_delay: Duration,
    pub(super) transaction_verification: bool,
    pub(super) group_bytes: usize,
    pub(super) offset_metadata_bytes: usize,
    pub(super) offsets_retention: Duration,
    pub(super) group_max_size: usize,
    pub(super) session_timeouts: RangeInclusive<Duration>,
    pub(super) initial_rebalance_delay: Duration,
    pub(super) consumer_session_timeout: Duration,
    pub(super) consumer_heartbeat_interval: Duration,
}

impl Settings {
    /// What the builder says about topics, by the topics' names of the settings.
    ///
    /// Unlike in Kafka no record is too old by default: tests like fixed timestamps, and memory has its own bound.
    pub(super) fn topic_defaults(&self) -> Values {
        let defaults = [("max.message.bytes", self.max_message_bytes.to_string()), ("retention.ms", "-1".to_owned())];
        defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: 1,
            advertised_host: None,
            racks: Vec::new(),
            auto_create_topics: None,
            default_partitions: 1,
            replication_factor: 1,
            max_message_bytes: (1 << 20) + 12,
            max_request_bytes: 100 << 20,
            max_fetch_bytes: 55 << 20,
            retention_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            max_connections: 1000,
            strict_producer_start: false,
            start_time_millis: None,
            version: KafkaVersion::default(),
            changes: Changes::default(),
            sasl: Sasl::default(),
            handshake_timeout: Duration::from_secs(30),
            #[cfg(feature = "tls")]
            tls: None,
            producer_id_expiration: Duration::from_secs(86_400),
            transactional_id_expiration: Duration::from_secs(7 * 86_400),
            max_transaction_timeout: Duration::from_secs(900),
            marker_delay: Duration::ZERO,
            transaction_verification: true,
            group_bytes: 256 << 20,
            offset_metadata_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            group_max_size: 1000,
            session_timeouts: Duration::from_secs(6)..=Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
        }
    }
}

/// Binds a port for every broker, and says which.
async fn bind_all(listen: &str, brokers: i32) -> Result<Vec<(Listener, Endpoint)>> {
    let first = resolve(listen).await?;
    let mut listeners = Vec::new();
    for index in 0..u16::try_from(brokers).unwrap_or(0) {
        let port = if first.port() == 0 { 0 } else { first.port().saturating_add(index) };
        listeners.push(bind(&Endpoint::Tcp(SocketAddr::new(first.ip(), port)))?);
    }
    Ok(listeners)
}

fn listen_in(network: &MemoryNetwork, brokers: i32) -> Result<Vec<(Listener, Endpoint)>> {
    let endpoint = |id| Endpoint::Memory { network: network.clone(), host: format!("broker-{id}"), port: 9092 };
    (0..brokers).map(|id| bind(&endpoint(id))).collect()
}

fn bind(endpoint: &Endpoint) -> Result<(Listener, Endpoint)> {
    let listener = endpoint.reserve().and_then(Reserved::listen);
    let bound = listener.and_then(|listener| listener.endpoint().map(|bound| (listener, bound)));
    bound.map_err(|error| unbound(endpoint, error))
}

async fn bind_registry(address: &str) -> Result<TcpListener> {
    match bind(&Endpoint::Tcp(resolve(address).await?))? {
        (Listener::Tcp(listener), _) => Ok(listener),
        (Listener::Memory { .. }, _) => Err(Error::new(ErrorKind::Config, "a registry listens on a socket")),
    }
}

pub(super) fn unbound(endpoint: &Endpoint, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot listen at {endpoint}: {error}")).with_source(error)
}

async fn resolve(address: &str) -> Result<SocketAddr> {
    let found = tokio::net::lookup_host(address).await;
    let invalid = || Error::new(ErrorKind::Config, format!("{address} is not an address to listen at"));
    found.map_err(|error| invalid().with_source(error))?.next().ok_or_else(invalid)
}

const MAX_BROKERS: i32 = 100;
