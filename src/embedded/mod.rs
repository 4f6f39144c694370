//! A small Kafka in this process: brokers and a Schema Registry on real sockets, with their logs in memory.
//!
//! It serves first steps, tests and `cargo demo`; other clients can use it as well. It is the other end of the wire:
//! it reads and writes with the crate `kafka-protocol` and has its own understanding of record batches, so that a
//! mistake in milena's codec cannot cancel itself out.
//!
//! ```no_run
//! # async fn example() -> milena::Result<()> {
//! use milena::embedded::EmbeddedCluster;
//!
//! let cluster = EmbeddedCluster::builder().topic("orders", 6).with_registry().start().await?;
//! println!("bootstrap.servers={}", cluster.bootstrap());
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!   mod        the cluster and its builder              registry/  subjects, ids and versions over HTTP
//!   server     sockets, frames, one task per connection
//!   api/       one request each: what is asked, what is answered      guard   before anything is decoded
//!   topics     topics, leaders, the memory of all logs                faults  what goes wrong on purpose
//!   log        a partition's batches and offsets                      reply   frames around stored batches
//!   producers  idempotence                              batch    61 bytes of header, and the checksum
//! ```
//!
//! Rules this module keeps:
//! - it shares no decision code with the client, and imports none of it;
//! - no peer can make it panic or take unbounded memory: see the settings of [`Builder`];
//! - what a broker keeps lives in the cluster, so that a killed broker comes back with its logs.
//!
//! Not served yet: groups, transactions, fetch sessions, SASL and TLS, replication (each partition has one replica).

mod api;
mod batch;
mod clock;
mod faults;
mod groups;
mod guard;
mod listener;
mod log;
mod producers;
mod registry;
mod reply;
mod server;
mod session;
mod timers;
mod topics;
mod transactions;

#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicI64},
};

use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

pub use faults::{Api, Fault, FaultAction, FaultHandle, When};

use self::{
    clock::Clock,
    faults::Faults,
    groups::Groups,
    listener::{Endpoint, Listener, Reserved},
    registry::RegistryServer,
    server::Server,
    timers::{Timer, Timers},
    topics::{NewTopic, Topics},
    transactions::Transactions,
};
pub use crate::memory::{MemoryNetwork, Way};
use crate::{Error, ErrorKind, Result};

/// A running cluster. Dropping it stops it without waiting; [`EmbeddedCluster::shutdown`] waits.
#[derive(Debug)]
pub struct EmbeddedCluster {
    shared: Arc<Shared>,
    /// By broker id.
    servers: Mutex<Vec<Slot>>,
    registry: Option<RegistryServer>,
    timers: JoinHandle<()>,
}

/// A broker's place in the cluster.
#[derive(Debug)]
enum Slot {
    Up(Server),
    /// Down, its address reserved as far as the system allows.
    Down(Option<Reserved>),
}

impl EmbeddedCluster {
    /// A cluster of one broker on a free port of the loopback, without topics and without a registry.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::default(),
            listen: "127.0.0.1:0".to_owned(),
            network: None,
            topics: Vec::new(),
            registry: None,
            registry_path: String::new(),
        }
    }

    /// The addresses of all brokers, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let nodes = self.shared.nodes();
        nodes.iter().map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// The base URL of the registry; empty if the cluster was started without one.
    pub fn registry_url(&self) -> String {
        self.registry.as_ref().map(RegistryServer::url).unwrap_or_default()
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if Kafka would not allow it or it exists.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let new = NewTopic { name: name.to_owned(), partitions, max_message_bytes: None };
        match self.shared.topics.create(new, false) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Config, format!("topic {name} cannot be created: {error}"))),
        }
    }

    /// Makes something go wrong, see [`Fault`].
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.inject(fault)
    }

    /// Removes all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Kills a broker: its listener and all its connections are gone when this returns, its logs are kept.
    ///
    /// A broker that is down or unknown stays so.
    ///
    /// # Cancel safety
    /// Cancel safe: the broker dies all the same, but its port is not reserved for [`EmbeddedCluster::restart`] then.
    pub async fn kill(&self, broker: i32) {
        self.shared.set_alive(broker, false);
        if let Some(Slot::Up(server)) = self.replace(broker, Slot::Down(None)) {
            let port = server.stop().await;
            self.replace(broker, Slot::Down(port));
        }
    }

    /// Starts a killed broker again, on the same port and with its logs.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no such broker, [`ErrorKind::Io`] if its port is taken.
    ///
    /// # Cancel safety
    /// Cancel safe: the broker is up or down, nothing between.
    pub async fn restart(&self, broker: i32) -> Result<()> {
        let node = self.shared.nodes().into_iter().find(|node| node.id == broker);
        let node = node.ok_or_else(|| Error::new(ErrorKind::Config, format!("there is no broker {broker}")))?;
        if node.alive {
            return Ok(());
        }
        let reserved = match self.replace(broker, Slot::Down(None)) {
            Some(Slot::Down(Some(port))) => port,
            _ => node.listen.reserve().map_err(|error| unbound(&node.listen, error))?,
        };
        let listener = reserved.listen().map_err(|error| unbound(&node.listen, error))?;
        self.replace(broker, Slot::Up(Server::start(self.shared.clone(), broker, listener)));
        self.shared.set_alive(broker, true);
        Ok(())
    }

    /// Makes another broker the leader of a partition, in a new leader epoch.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the partition or the broker does not exist.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<()> {
        let known = self.shared.topics.by_name(topic);
        let known = known.as_ref().and_then(|topic| topic.partition(partition));
        let exists = (0..self.shared.settings.brokers).contains(&broker);
        let Some(found) = known.filter(|_| exists) else {
            return Err(Error::new(ErrorKind::Config, format!("{topic}-{partition} cannot be led by broker {broker}")));
        };
        found.move_leader(broker);
        Ok(())
    }

    /// Bytes of memory that the logs take, batches and what is remembered with them.
    pub fn stored_bytes(&self) -> usize {
        self.shared.topics.stored_bytes()
    }

    /// The time of day as the brokers know it, in milliseconds since 1970: the system's, or the one that
    /// [`Builder::start_time_millis`] began with, carried on by tokio's clock.
    pub fn now_millis(&self) -> i64 {
        self.shared.clock.now_millis()
    }

    /// Stops everything and waits until no task is left. All records are gone.
    ///
    /// # Cancel safety
    /// Cancel safe: everything stops all the same.
    pub async fn shutdown(mut self) {
        let slots: Vec<Slot> = self.servers().drain(..).collect();
        for slot in slots {
            if let Slot::Up(server) = slot {
                server.stop().await;
            }
        }
        self.timers.abort();
        if let Some(registry) = self.registry.take() {
            registry.stop().await;
        }
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something into a broker's place and returns what was there.
    fn replace(&self, broker: i32, slot: Slot) -> Option<Slot> {
        let mut servers = self.servers();
        Some(std::mem::replace(servers.get_mut(usize::try_from(broker).ok()?)?, slot))
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        self.timers.abort();
    }
}

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
    /// Partitions have one replica each, their leaders are spread evenly, and a partition is gone while its leader is.
    pub fn brokers(mut self, count: i32) -> Self {
        self.settings.brokers = count;
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

    /// The time of day at the start, in milliseconds since 1970. Default: the network's, if that has one, or the system's.
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
        let listeners = match network {
            Some(network) => listen_in(&network, settings.brokers)?,
            None => bind_all(&listen, settings.brokers).await?,
        };
        settings.start_time_millis = settings.start_time_millis.or(time_of_day);
        let shared = Arc::new(Shared::new(settings, &listeners));
        let registry = match registry {
            Some(address) => Some(RegistryServer::start(bind_registry(&address).await?, &registry_path)?),
            None => None,
        };
        let servers = (0..)
            .zip(listeners)
            .map(|(id, (listener, _))| Slot::Up(Server::start(shared.clone(), id, listener)))
            .collect();
        let timers = tokio::spawn(timers::run(shared.clone()));
        let cluster = EmbeddedCluster { shared, servers: Mutex::new(servers), registry, timers };
        for (name, partitions) in topics {
            cluster.create_topic(&name, partitions)?;
        }
        Ok(cluster)
    }
}

/// What all brokers of a cluster share: the logs outlive a killed broker.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    cluster_id: String,
    topics: Topics,
    faults: Faults,
    groups: Groups,
    transactions: Transactions,
    clock: Clock,
    timers: Timers,
    nodes: RwLock<Vec<Node>>,
    next_producer_id: AtomicI64,
}

/// A broker as clients see it.
#[derive(Debug, Clone)]
struct Node {
    id: i32,
    host: String,
    port: u16,
    listen: Endpoint,
    alive: bool,
}

impl Shared {
    fn new(settings: Settings, listeners: &[(Listener, Endpoint)]) -> Self {
        let nodes = (0..).zip(listeners).map(|(id, (_, listen))| {
            let (host, port) = listen.reachable();
            let host = settings.advertised_host.clone().unwrap_or(host);
            Node { id, host, port, listen: listen.clone(), alive: true }
        });
        Self {
            cluster_id: format!("embedded-{:013x}", fastrand::u64(..) >> 12),
            topics: Topics::new(settings.brokers, settings.retention_bytes, settings.segment_bytes),
            faults: Faults::default(),
            groups: Groups::default(),
            transactions: Transactions::default(),
            clock: Clock::new(settings.start_time_millis),
            timers: Timers::default(),
            nodes: RwLock::new(nodes.collect()),
            // Not from 0, so that an id that a client never asked for stands out.
            next_producer_id: AtomicI64::new(1000),
            settings,
        }
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn alive(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|node| node.alive).collect()
    }

    /// The id of the broker that acts as controller: the first one alive.
    fn controller(&self) -> i32 {
        self.alive().first().map_or(-1, |node| node.id)
    }

    /// The broker that coordinates a group or a transactional id: always the same one while the same brokers live.
    fn coordinator(&self, key: &str) -> Option<Node> {
        let mut hash = DefaultHasher::new();
        key.hash(&mut hash);
        let alive = self.alive();
        hash.finish().checked_rem(alive.len() as u64).and_then(|at| alive.into_iter().nth(at as usize))
    }

    fn handle_timer(&self, timer: Timer, now: Instant) {
        match timer {
            Timer::Group(id) => self.groups.handle_timeout(self, &id, now),
            Timer::Transaction(id) => self.transactions.handle_timeout(self, &id, now),
            Timer::Retention => self.topics.handle_retention(self.clock.now_millis()),
        }
    }

    fn set_alive(&self, broker: i32, alive: bool) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.iter_mut().filter(|node| node.id == broker).for_each(|node| node.alive = alive);
    }
}

impl Node {
    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What the setters of [`Builder`] set.
#[derive(Debug, Clone)]
struct Settings {
    brokers: i32,
    advertised_host: Option<String>,
    auto_create_topics: Option<i32>,
    default_partitions: i32,
    max_message_bytes: usize,
    max_request_bytes: usize,
    max_fetch_bytes: usize,
    retention_bytes: usize,
    segment_bytes: usize,
    max_connections: usize,
    strict_producer_start: bool,
    start_time_millis: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: 1,
            advertised_host: None,
            auto_create_topics: None,
            default_partitions: 1,
            max_message_bytes: (1 << 20) + 12,
            max_request_bytes: 100 << 20,
            max_fetch_bytes: 55 << 20,
            retention_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            max_connections: 1000,
            strict_producer_start: false,
            start_time_millis: None,
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

fn unbound(endpoint: &Endpoint, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot listen at {endpoint}: {error}")).with_source(error)
}

async fn resolve(address: &str) -> Result<SocketAddr> {
    let found = tokio::net::lookup_host(address).await;
    let invalid = || Error::new(ErrorKind::Config, format!("{address} is not an address to listen at"));
    found.map_err(|error| invalid().with_source(error))?.next().ok_or_else(invalid)
}

const MAX_BROKERS: i32 = 100;
