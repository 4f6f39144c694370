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
//!   mod        the cluster: brokers up and down         builder    what a cluster is to be like
//!   guard      before anything is decoded               registry/  subjects, ids and versions over HTTP
//!   server     sockets, frames, one task per connection
//!   api/       one request each: what is asked, what is answered
//!   topics     topics, leaders, the memory of all logs                faults  what goes wrong on purpose
//!   log        a partition's batches and offsets                      reply   frames around stored batches
//!   groups/    members, assignments, committed offsets
//!   transactions/ transactional ids, and what is open
//!   producers  idempotence                              batch    61 bytes of header, and the checksum
//!   isolation  the last stable offset                   marker   the ends of transactions
//! ```
//!
//! Rules this module keeps:
//! - it shares no decision code with the client, and imports none of it;
//! - no peer can make it panic or take unbounded memory: see the settings of [`Builder`];
//! - what a broker keeps lives in the cluster, so that a killed broker comes back with its logs.
//!
//! Not served yet: share groups. Replicas are bookkeeping: all of them see one log.

mod api;
mod batch;
mod builder;
mod clock;
mod codecs;
mod compaction;
mod configs;
mod epochs;
mod faults;
mod fetch_sessions;
mod groups;
mod guard;
mod isolation;
mod listener;
mod log;
mod marker;
mod partition;
mod presets;
mod producers;
mod refusal;
mod registry;
mod reply;
mod requests;
mod retention;
mod sasl;
mod server;
mod session;
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod transactions;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::{task::JoinHandle, time::Instant};

pub use api::Api;
pub use builder::Builder;
pub use faults::{Fault, FaultAction, FaultHandle, When};
pub use groups::GroupMember;
pub use presets::KafkaVersion;
pub use sasl::SaslMechanism;
pub use transactions::TransactionDescription;

use self::{
    builder::{Settings, unbound},
    clock::Clock,
    configs::{Refused, Values},
    faults::Faults,
    fetch_sessions::FetchSessions,
    groups::{Group, Groups},
    listener::{Endpoint, Listener, Reserved},
    presets::Offers,
    registry::RegistryServer,
    requests::Requests,
    server::Server,
    timers::{Timer, Timers},
    topics::{NewTopic, Placement, Topics},
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
        Builder::default()
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
        self.create_topic_with(name, partitions, self.shared.settings.replication_factor, &[])
    }

    /// Creates a topic with so many replicas of each partition and these settings, by Kafka's names of them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if Kafka would not allow it, it exists, or a setting is unknown or wrong.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let failed = |why: String| Error::new(ErrorKind::Config, format!("topic {name} cannot be created: {why}"));
        let own = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = self.shared.topics.config(own).map_err(|Refused(why)| failed(why))?;
        if !(1..=self.shared.settings.brokers).contains(&i32::from(replication_factor)) {
            return Err(failed(format!("{replication_factor} replicas are not for this cluster")));
        }
        let replicas = Placement::Spread(replication_factor);
        let new = NewTopic { name: name.to_owned(), partitions, replicas, config };
        self.shared.topics.create(new, false).map(|_| ()).map_err(|error| failed(error.to_string()))
    }

    /// Makes something go wrong, see [`Fault`].
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.inject(fault)
    }

    /// Removes all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// How many requests of a kind the brokers have taken so far, by version: which versions a client has negotiated,
    /// and how often it asks. Requests that were refused for their version are not counted.
    pub fn requests(&self, api: Api) -> BTreeMap<i16, u64> {
        self.shared.requests.of(api)
    }

    /// How many connections the brokers have had so far from each principal, as Kafka writes them: `User:alice` by
    /// SASL, `User:CN=alice` by a client certificate, `User:ANONYMOUS`. A client that is not let in is not counted.
    pub fn connections(&self) -> BTreeMap<String, u64> {
        self.shared.requests.connections()
    }

    /// The finalized level of a feature; 0 without one.
    pub fn feature(&self, name: &str) -> i16 {
        self.shared.offers.feature(name)
    }

    /// Finalizes a feature at a level, as `kafka-features.sh` does while clients are connected; level 0 takes it away.
    /// Those that something depends on here are `transaction.version` and `group.version`.
    pub fn set_feature(&self, name: &str, level: i16) {
        self.shared.offers.set_feature(name, level);
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

    /// Makes a broker stand still, as SIGSTOP does: connections are taken by the system and by nobody else, requests are
    /// not read and answers not sent. What it had begun it may finish, without telling. It is still told of in metadata.
    ///
    /// A broker that is down or unknown stays so.
    pub fn pause(&self, broker: i32) {
        self.with_server(broker, |server| server.pause(true));
    }

    /// Lets a paused broker go on where it stood.
    pub fn resume(&self, broker: i32) {
        self.with_server(broker, |server| server.pause(false));
    }

    /// Cuts all connections of a broker, which takes new ones at once. None of the old is left when this returns.
    ///
    /// # Cancel safety
    /// Cancel safe: the connections are cut all the same.
    pub async fn disconnect(&self, broker: i32) {
        if let Some(cut) = self.with_server(broker, Server::cut) {
            // An error means that the broker is stopping, and its connections with it.
            let _ = cut.await;
        }
    }

    /// Makes another broker the coordinator of a group or a transactional id, with everything that the old one knew
    /// about it; that one answers NOT_COORDINATOR from now on. While the new one is down, the key is coordinated as
    /// before.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the broker does not exist.
    pub fn move_coordinator(&self, key: &str, broker: i32) -> Result<()> {
        if !(0..self.shared.settings.brokers).contains(&broker) {
            return Err(Error::new(ErrorKind::Config, format!("{key} cannot be coordinated by broker {broker}")));
        }
        self.shared.moved().insert(key.to_owned(), broker);
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

    /// Loses the records of a partition from `offset` on, with the whole batch that holds it, and begins a new leader
    /// epoch: what an unclean election does. Whoever has read further finds out by KIP-320.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the partition does not exist.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let known = self.shared.topics.by_name(topic);
        let found = known.as_ref().and_then(|topic| topic.partition(partition));
        let found = found.ok_or_else(|| Error::new(ErrorKind::Config, format!("there is no {topic}-{partition}")))?;
        self.shared.topics.take(found, |log| (found.truncate(offset, log), ()));
        Ok(())
    }

    /// Forgets the fetch sessions of a broker (KIP-227): its readers are told that they have none.
    pub fn expire_fetch_sessions(&self, broker: i32) {
        self.shared.expire_fetch_sessions(broker);
    }

    /// Drops what is older or more than the topics' settings allow, and compacts what is to be compacted, at once. It
    /// happens by itself every 15 seconds of tokio's clock.
    pub fn apply_retention(&self) {
        self.shared.topics.handle_retention(self.shared.clock.now_millis());
    }

    /// The offset that a group has committed for a partition; `None` without one.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let committed = |group: &mut Group, _| group.offsets.committed(topic, partition).map(|it| it.offset);
        self.shared.groups.with(&self.shared, group, committed).flatten()
    }

    /// All transactional ids that the brokers know, in their order: who may use them, and what is open.
    pub fn transactions(&self) -> Vec<TransactionDescription> {
        self.shared.transactions.all()
    }

    /// Takes a transactional id away from its producer, as Java's `Admin.fenceProducers` does: its open transaction is
    /// aborted, and whatever it asks for is answered with PRODUCER_FENCED or INVALID_PRODUCER_EPOCH from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if no producer has used this id.
    pub fn fence_producer(&self, transactional_id: &str) -> Result<()> {
        if self.shared.transactions.fence(&self.shared, transactional_id) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("there is no transactional id {transactional_id}")))
    }

    /// Changes [`Builder::marker_delay`] for all transactions that end from now on.
    pub fn set_marker_delay(&self, time: Duration) {
        self.shared.transactions.set_marker_delay(time.min(crate::types::FOREVER));
    }

    /// Everybody in a consumer group, ordered by member id. Empty if there is no such group.
    pub fn group_members(&self, group: &str) -> Vec<GroupMember> {
        self.shared.groups.members(group)
    }

    /// Removes a member from its group as if its session had ended: what it sends next is refused with
    /// UNKNOWN_MEMBER_ID, and the others rebalance. Returns whether it was there.
    pub fn expire_member(&self, group: &str, member_id: &str) -> bool {
        self.shared.groups.expire(&self.shared, group, member_id)
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

    fn with_server<T>(&self, broker: i32, act: impl FnOnce(&Server) -> T) -> Option<T> {
        match self.servers().get(usize::try_from(broker).ok()?)? {
            Slot::Up(server) => Some(act(server)),
            Slot::Down(_) => None,
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

/// What all brokers of a cluster share: the logs outlive a killed broker.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    offers: Offers,
    requests: Requests,
    cluster_id: String,
    topics: Topics,
    /// By broker: they die with it.
    fetch_sessions: Mutex<BTreeMap<i32, FetchSessions>>,
    /// What was set for brokers and groups, by their names; the empty name is all brokers.
    configs: Mutex<BTreeMap<(i8, String), Values>>,
    faults: Faults,
    groups: Groups,
    transactions: Transactions,
    clock: Clock,
    timers: Timers,
    nodes: RwLock<Vec<Node>>,
    /// Who coordinates what was moved on purpose.
    moved: Mutex<BTreeMap<String, i32>>,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    next_producer_id: AtomicI64,
}

/// A broker as clients see it.
#[derive(Debug, Clone)]
struct Node {
    id: i32,
    host: String,
    port: u16,
    rack: Option<String>,
    listen: Endpoint,
    alive: bool,
}

impl Shared {
    fn new(settings: Settings, listeners: &[(Listener, Endpoint)]) -> Result<Self> {
        let nodes = (0..).zip(listeners).map(|(id, (_, listen))| {
            let (host, port) = listen.reachable();
            let host = settings.advertised_host.clone().unwrap_or(host);
            let rack = settings.racks.iter().cycle().nth(id as usize).cloned();
            Node { id, host, port, rack, listen: listen.clone(), alive: true }
        });
        Ok(Self {
            offers: Offers::new(settings.version, &settings.changes),
            requests: Requests::default(),
            cluster_id: format!("embedded-{:013x}", fastrand::u64(..) >> 12),
            topics: Topics::new(
                settings.brokers,
                settings.retention_bytes,
                settings.segment_bytes,
                settings.topic_defaults(),
            ),
            fetch_sessions: Mutex::default(),
            configs: Mutex::default(),
            faults: Faults::default(),
            groups: Groups::new(settings.group_bytes),
            transactions: Transactions::new(settings.marker_delay),
            clock: Clock::new(settings.start_time_millis),
            timers: Timers::default(),
            nodes: RwLock::new(nodes.collect()),
            moved: Mutex::default(),
            #[cfg(feature = "tls")]
            tls: settings.tls.as_ref().map(tls::Tls::new).transpose()?,
            // Not from 0, so that an id that a client never asked for stands out.
            next_producer_id: AtomicI64::new(1000),
            settings,
        })
    }

    /// A producer id that nobody had before.
    fn new_producer_id(&self) -> i64 {
        self.next_producer_id.fetch_add(1, Ordering::Relaxed)
    }

    /// By which version of transactions those end that their producer does not end itself (KIP-890).
    fn transaction_version(&self) -> i16 {
        self.offers.feature("transaction.version")
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

    /// The broker that coordinates a group or a transactional id: the one it was moved to, else always the same one
    /// while the same brokers live.
    fn coordinator(&self, key: &str) -> Option<Node> {
        let mut hash = DefaultHasher::new();
        key.hash(&mut hash);
        let alive = self.alive();
        let moved = self.moved().get(key).copied();
        if let Some(node) = alive.iter().find(|node| Some(node.id) == moved) {
            return Some(node.clone());
        }
        hash.finish().checked_rem(alive.len() as u64).and_then(|at| alive.into_iter().nth(at as usize))
    }

    fn moved(&self) -> MutexGuard<'_, BTreeMap<String, i32>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_timer(&self, timer: Timer, now: Instant) {
        match timer {
            Timer::Group(id) => self.groups.handle_timeout(self, &id, now),
            Timer::Transaction(id) => self.transactions.handle_timeout(self, &id, now),
            Timer::Retention => {
                self.timers.set(now + RETENTION_INTERVAL, Timer::Retention);
                self.topics.handle_retention(self.clock.now_millis());
            }
        }
    }

    fn set_alive(&self, broker: i32, alive: bool) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let changed = nodes.iter_mut().find(|node| node.id == broker && node.alive != alive);
        let Some(node) = changed else { return };
        node.alive = alive;
        drop(nodes);
        let living: Vec<i32> = self.alive().iter().map(|node| node.id).collect();
        if alive {
            self.topics.broker_came(broker, &living);
        } else {
            self.expire_fetch_sessions(broker);
            self.topics.broker_died(broker, &living);
        }
    }

    /// What was set for a resource.
    fn configs_of(&self, kind: i8, name: &str) -> Values {
        let configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        configs.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// The resources of a kind for which anything was set.
    fn configured(&self, kind: i8) -> Vec<String> {
        let configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        configs.keys().filter(|(known, _)| *known == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Sets all of a resource's settings; with `dry` only says whether there is room for them.
    fn set_configs<E: From<ResponseError>>(&self, kind: i8, name: &str, values: Values, dry: bool) -> Result<(), E> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, name.to_owned());
        if !configs.contains_key(&key) && configs.len() >= MAX_CONFIGURED {
            return Err(ResponseError::PolicyViolation.into());
        }
        if values.is_empty() && !dry {
            configs.remove(&key);
        } else if !dry {
            configs.insert(key, values);
        }
        Ok(())
    }

    fn expire_fetch_sessions(&self, broker: i32) {
        self.fetch_sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&broker);
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

/// More groups and brokers than this cannot have settings of their own.
const MAX_CONFIGURED: usize = 1000;

/// How often logs are looked through for what is too old; Kafka's cleaner looks as often.
const RETENTION_INTERVAL: Duration = Duration::from_secs(15);
