//! "Send this request to whoever must have it": the cluster as one thing that can be asked.
//!
//! Rules this folder keeps:
//! - what is known of the cluster is a snapshot; readers never wait for a refresh they did not ask for;
//! - one task asks for metadata, so a thousand callers that miss a leader make one request;
//! - a request that was not sent is sent again; one that may have been only if doing it twice does no harm;
//! - a caller's deadline ends its waiting, never a connection that others share;
//! - dropping the last handle ends the task and the connections.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    backoff::Backoff,
    error::{Error, ErrorKind, Result},
    machine::{
        conn::Certainty,
        metadata::{LeaderHint, Metadata},
    },
    net::{
        NetConfig, Network,
        conn::{Connection, Lost},
        handshake,
        pool::{Destination, Pool},
    },
    types::BrokerId,
    watch,
    wire::{Choice, ErrorCode, Features, Request, Str, Versions},
};

pub(crate) use crate::net::pool::Traffic;
pub use call::Call;
pub(crate) use coordinator::KeyType;

use coordinator::Coordinators;
use topics::Topics;

mod call;
mod coordinator;
mod refresh;
mod repeat;
mod topics;

/// What the whole client is configured with.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    pub(crate) bootstrap: Vec<String>,
    pub(crate) client_id: String,
    pub(crate) request_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    /// Topics that nobody has used for so long are not asked for any more (KIP-526).
    pub(crate) metadata_max_idle: Duration,
    /// After so long without metadata the configured addresses are asked, whoever else may be connected (KIP-1102).
    /// `None`: those addresses are asked at the start only.
    pub(crate) rebootstrap_trigger: Option<Duration>,
    pub(crate) retry_backoff: Backoff,
    pub(crate) reconnect_backoff: Backoff,
    pub(crate) net: NetConfig,
}

/// A handle to the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ClusterConfig,
    pool: Pool,
    view: watch::Sender<View>,
    /// The topics that metadata requests name.
    topics: Topics,
    wanted: Arc<Notify>,
    /// Refreshes that began.
    begun: AtomicU64,
    coordinators: Coordinators,
}

/// What the last refresh brought.
#[derive(Debug, Clone, Default)]
struct View {
    metadata: Arc<Metadata>,
    /// Refreshes that ended, well or not. They end in the order in which they began.
    rounds: u64,
    /// Why the last one failed.
    error: Option<Error>,
    /// When the first one began that failed since one succeeded, or since the configured addresses were asked again.
    failing_since: Option<Instant>,
}

impl Drop for Shared {
    /// The task that refreshes metadata sleeps until somebody asks: now there is nobody left.
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

/// Who is to have a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To<'a> {
    /// Any broker.
    Any,
    /// The controller, or whoever stands in for it.
    Controller,
    /// This broker.
    Broker(BrokerId),
    /// Whoever coordinates this group, transactional id or share-group partition.
    Coordinator(KeyType, &'a str),
    /// Whoever leads this partition of a topic.
    Leader(&'a str, i32),
}

/// How a request is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) to: To<'a>,
    pub(crate) traffic: Traffic,
    pub(crate) choice: Choice,
    /// Whether what is remembered of `to` is not to be believed.
    pub(crate) fresh: bool,
}

impl Cluster {
    /// Connects to the first bootstrap address that answers and learns who the brokers are.
    ///
    /// # Errors
    /// When none answers: names every address that was tried, and why it failed.
    pub(crate) async fn connect(config: ClusterConfig) -> Result<Self> {
        let pool = Pool::new(config.net.clone(), &config.client_id, config.reconnect_backoff);
        let wanted = Arc::new(Notify::new());
        let (view, _) = watch::channel(View::default());
        let cluster = Self(Arc::new(Shared {
            config,
            pool,
            view,
            topics: Topics::default(),
            wanted,
            begun: AtomicU64::new(0),
            coordinators: Coordinators::default(),
        }));
        cluster.refresh_now().await?;
        tokio::spawn(refresh::run(Arc::downgrade(&cluster.0), cluster.0.wanted.clone()));
        Ok(cluster)
    }

    pub(crate) fn config(&self) -> &ClusterConfig {
        &self.0.config
    }

    /// Whether the brokers are reached over a network inside this process: then nothing may depend on threads or on the
    /// time of day, so that a run can be repeated.
    pub(crate) fn is_in_process(&self) -> bool {
        !matches!(self.0.config.net.network, Network::Sockets)
    }

    /// When the time of day of an in-process network began, and what it was then.
    pub(crate) fn epoch(&self) -> Option<(Instant, i64)> {
        match &self.0.config.net.network {
            Network::Sockets => None,
            #[cfg(feature = "embedded")]
            Network::Memory(network) => network.epoch(),
        }
    }

    /// What is known now.
    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        self.0.view.borrow().metadata.clone()
    }

    /// Resolves whenever metadata was refreshed since the last call of the same watcher.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.0.view.subscribe())
    }

    /// Asks for fresh metadata, soon, in which `topic` is described: it is in use, whoever gave it up meanwhile.
    pub(crate) fn request_topic(&self, topic: &str) {
        self.name_topic(topic);
        self.request_refresh();
    }

    /// Has `topic` described in metadata from now on, until nobody has asked for it for `metadata.max.idle.ms`. Answers
    /// whether it was not so far.
    pub(crate) fn name_topic(&self, topic: &str) -> bool {
        self.0.topics.name(topic)
    }

    /// Has `topic` described in metadata for as long as it is held.
    pub(crate) fn hold_topic(&self, topic: &str) {
        self.0.topics.hold(topic);
    }

    /// Gives up what `hold_topic` got, once for each; it was used until then.
    pub(crate) fn release_topic(&self, topic: &str, used: Instant) {
        self.0.topics.release(topic, used);
    }

    /// Asks for fresh metadata, soon.
    pub(crate) fn request_refresh(&self) {
        self.0.wanted.notify_one();
    }

    /// Metadata in which `topic` is described; asks for it until `deadline`.
    ///
    /// # Errors
    /// `UnknownTopic` with what the brokers said last, or at once what no waiting can mend.
    pub(crate) async fn topic(&self, topic: &str, deadline: Instant) -> Result<Arc<Metadata>> {
        let mut view = self.0.view.subscribe();
        let _asking = Asking { cluster: self, topic };
        let (mut asked, begun) = (0, view.borrow().rounds);
        loop {
            let (metadata, rounds, error) = {
                let view = view.borrow_and_update();
                (view.metadata.clone(), view.rounds, view.error.clone())
            };
            if metadata.topic(topic).is_some() {
                self.name_topic(topic);
                return Ok(metadata);
            }
            let code = metadata.topic_error(topic);
            // The round that was under way at the beginning may not have named the topic, and the code may be an old one.
            if let Some(code) = code.filter(|code| !code.is_retriable() && rounds >= begun + 2) {
                return Err(Error::broker(code, format_args!("topic {topic}")));
            }
            if Instant::now() >= deadline {
                return Err(unknown_topic(topic, asked, code, error));
            }
            self.request_topic(topic);
            asked += 1;
            let pause = self.0.config.retry_backoff.delay(asked, fastrand::f64());
            let pause = deadline.min(Instant::now() + pause);
            if asked > 1 {
                let _ = timeout_at(pause, view.wait_for(|view| view.metadata.topic(topic).is_some())).await;
            } else {
                let _ = timeout_at(pause, view.changed()).await;
            }
        }
    }

    /// As [`topic`](Self::topic), but believes nothing that was heard before this call.
    ///
    /// # Errors
    /// As `topic`, and why no broker told about the cluster.
    pub(crate) async fn topic_now(&self, topic: &str, deadline: Instant) -> Result<Arc<Metadata>> {
        // One that is not known is asked for in any case.
        if self.metadata().topic(topic).is_some() {
            self.refreshed(deadline).await?;
        }
        self.topic(topic, deadline).await
    }

    /// Sends a request and waits for its answer; tries again, with backoff, what may be tried again. What would change
    /// something twice, or be refused the second time because the first one worked, is not repeated once it may have
    /// been sent: the error says so (`Error::maybe_written`).
    pub(crate) async fn call<R: Request>(
        &self,
        to: To<'_>,
        traffic: Traffic,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response> {
        let route = Route { to, traffic, choice: Choice::Stable, fresh: false };
        self.send(route, request, timeout).await
    }

    /// As [`call`](Self::call), with more to say about how.
    pub(crate) async fn send<R: Request>(
        &self,
        route: Route<'_>,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response> {
        let deadline = Instant::now() + timeout;
        if route.fresh {
            self.look_again(route.to, deadline).await?;
        }
        let (mut failures, mut unanswered) = (0, 0);
        loop {
            let Lost { certainty, error } = match self.try_send(route, request, deadline).await {
                Ok(response) => return Ok(response),
                Err(lost) => lost,
            };
            if certainty == Certainty::MaybeSent && !repeat::may_repeat(R::API) {
                return Err(error.with_maybe_written(true));
            }
            failures += 1;
            unanswered += u32::from(certainty == Certainty::MaybeSent);
            if unanswered == MOST_UNANSWERED {
                return Err(error);
            }
            // A broker that cannot be dialled now is waited for as long as that takes, and not for one backoff more.
            let dialled = match route.to {
                To::Broker(broker) => self.dials_again_at(broker, route.traffic),
                _ => None,
            };
            let later = || Instant::now() + self.0.config.retry_backoff.delay(failures, fastrand::f64());
            let again = dialled.unwrap_or_else(later);
            if !error.is_retriable() || again >= deadline {
                return Err(error);
            }
            // Whoever was to have it may be another one by now.
            if let To::Coordinator(kind, key) = route.to {
                self.forget_coordinator(kind, key);
            }
            self.request_refresh();
            sleep_until(again).await;
        }
    }

    async fn try_send<R: Request>(
        &self,
        route: Route<'_>,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, Lost> {
        let not_sent = |error| Lost { certainty: Certainty::NotSent, error };
        let broker = self.resolve(route.to, deadline).await.map_err(not_sent)?;
        let connection = match broker {
            Some(broker) => timeout_at(deadline, self.connection(broker, route.traffic)).await,
            None => timeout_at(deadline, self.any_connection(route.traffic)).await,
        };
        let connection = connection.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no connection in time")));
        let connection = connection.map_err(not_sent)?;
        let address = &connection.peer().address;
        let version = connection.versions().choose::<R>(route.choice);
        let version = version.map_err(|error| not_sent(Error::new(error.kind(), format!("{address}: {error}"))))?;
        // The connection has its own time for the request; giving up earlier forgets the answer and harms nobody.
        let answer = connection.start_at(request, version, self.0.config.request_timeout).map_err(not_sent)?;
        timeout_at(deadline, answer).await.unwrap_or_else(|_| {
            let message = format!("{address} did not answer {} in time", R::NAME);
            Err(Lost { certainty: Certainty::MaybeSent, error: Error::new(ErrorKind::Timeout, message) })
        })
    }

    /// Which broker that is; `None` is any.
    async fn resolve(&self, to: To<'_>, deadline: Instant) -> Result<Option<BrokerId>> {
        match to {
            To::Any => Ok(None),
            To::Broker(broker) => Ok(Some(broker)),
            To::Controller => Ok(self.metadata().controller),
            To::Coordinator(kind, key) => self.coordinator(kind, key, deadline).await.map(Some),
            To::Leader(topic, partition) => self.leader(topic, partition, deadline).await.map(Some),
        }
    }

    /// Makes the next `resolve` believe nothing that was known before.
    async fn look_again(&self, to: To<'_>, deadline: Instant) -> Result<()> {
        match to {
            To::Any => return Ok(()),
            To::Coordinator(kind, key) => {
                self.forget_coordinator(kind, key);
                return Ok(());
            }
            To::Leader(topic, _) => self.request_topic(topic),
            To::Broker(_) | To::Controller => {}
        }
        self.refreshed(deadline).await
    }

    /// Who leads a partition; asks until it is known or `deadline` is over.
    async fn leader(&self, topic: &str, partition: i32, deadline: Instant) -> Result<BrokerId> {
        let mut failures = 0;
        loop {
            let metadata = self.topic(topic, deadline).await?;
            let partitions = metadata.topic(topic).map(|topic| topic.partitions.as_slice()).unwrap_or_default();
            let known = usize::try_from(partition).ok().and_then(|at| partitions.get(at));
            if let Some(leader) = known.and_then(|partition| partition.leader) {
                return Ok(leader);
            }
            let code = known.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |_| ErrorCode::LEADER_NOT_AVAILABLE);
            failures += 1;
            let again = Instant::now() + self.0.config.retry_backoff.delay(failures, fastrand::f64());
            if again >= deadline {
                return Err(Error::broker(code, format_args!("{topic}-{partition}, one of {}", partitions.len())));
            }
            self.request_topic(topic);
            sleep_until(again).await;
        }
    }

    /// What a broker offers, asked anew.
    pub(crate) async fn versions(&self, broker: BrokerId, timeout: Duration) -> Result<Versions> {
        let response = self.call(To::Broker(broker), Traffic::Other, &handshake::introduction(), timeout).await?;
        if response.error_code != ErrorCode::NONE {
            return Err(Error::broker(response.error_code, format_args!("broker {broker} refused ApiVersions")));
        }
        let versions = Versions::from_response(&response);
        self.0.pool.renew_features(versions.features());
        Ok(versions)
    }

    /// The features of the newest epoch that any broker told.
    pub(crate) fn features(&self) -> Features {
        self.0.pool.features()
    }

    /// The connection to a broker for one class of traffic; dials if there is none.
    pub(crate) async fn connection(&self, broker: BrokerId, traffic: Traffic) -> Result<Connection> {
        let node = self.metadata().node(broker).cloned();
        let Some(node) = node else {
            return Err(Error::new(
                ErrorKind::Disconnected,
                format!("broker {broker} is not in the cluster's metadata"),
            ));
        };
        let address = join_address(&node.host, node.port);
        self.0.pool.connect(&Destination::Broker(broker), &address, traffic).await
    }

    /// When `connection` will dial again, if it fails without trying now.
    pub(crate) fn dials_again_at(&self, broker: BrokerId, traffic: Traffic) -> Option<Instant> {
        self.0.pool.dials_again_at(&Destination::Broker(broker), traffic)
    }

    /// Lets go of the connections of a class of traffic that will not come again.
    pub(crate) fn forget(&self, traffic: Traffic) {
        self.0.pool.forget(traffic);
    }

    /// Whether a connection still leads to this broker: its number may belong to another machine by now (N11).
    pub(crate) fn leads_to(&self, connection: &Connection, broker: BrokerId) -> bool {
        let metadata = self.metadata();
        let node = metadata.node(broker);
        node.is_none_or(|node| join_address(&node.host, node.port) == *connection.peer().address)
    }

    /// Takes in where a broker listens, if nothing is known about it yet.
    fn learn_endpoint(&self, broker: BrokerId, host: &Str, port: i32) {
        self.0.view.send_if_modified(|view| {
            view.metadata.node(broker).is_none()
                && Arc::make_mut(&mut view.metadata).handle_endpoint(broker, host, port)
        });
    }

    /// Takes in a leader that a Produce or Fetch answer named (KIP-951), and where it listens. A leader that is no news
    /// brings no address either, unless none is known: it may be as old.
    pub(crate) fn apply_hint(&self, topic: &str, partition: i32, hint: LeaderHint, endpoint: Option<(&Str, i32)>) {
        self.0.view.send_if_modified(|view| {
            let metadata = Arc::make_mut(&mut view.metadata);
            let is_news = metadata.handle_hint(topic, partition, hint);
            let has_place = endpoint.is_some_and(|(host, port)| {
                let is_wanted = is_news || metadata.node(hint.leader).is_none();
                is_wanted && metadata.handle_endpoint(hint.leader, host, port)
            });
            is_news || has_place
        });
    }

    /// A connection to some broker: an open one if there is any, else any that can be had.
    async fn any_connection(&self, traffic: Traffic) -> Result<Connection> {
        let metadata = self.metadata();
        let mut brokers: Vec<BrokerId> = metadata.brokers().collect();
        fastrand::shuffle(&mut brokers);
        for broker in &brokers {
            if let Some(connection) = self.0.pool.open(&Destination::Broker(*broker), traffic) {
                return Ok(connection);
            }
        }
        let mut failures = Vec::new();
        for broker in brokers {
            match self.connection(broker, traffic).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failures.push(error),
            }
        }
        if !failures.is_empty() && self.0.config.rebootstrap_trigger.is_none() {
            return Err(no_broker(&failures));
        }
        // KIP-899: all known brokers are gone.
        self.bootstrap_connection(traffic, failures).await
    }

    /// A connection to one of the configured addresses.
    async fn bootstrap_connection(&self, traffic: Traffic, mut failures: Vec<Error>) -> Result<Connection> {
        let mut addresses = self.0.config.bootstrap.clone();
        fastrand::shuffle(&mut addresses);
        for address in addresses {
            let destination = Destination::Bootstrap(address.as_str().into());
            match self.0.pool.connect(&destination, &address, traffic).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failures.push(error),
            }
        }
        Err(no_broker(&failures))
    }
}

/// Somebody waits for a topic. If it goes away, in whichever way, and the topic is still unknown, metadata requests stop
/// naming it; others that wait for the same topic, or use it, name it again.
struct Asking<'a> {
    cluster: &'a Cluster,
    topic: &'a str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.cluster.metadata().topic(self.topic).is_none() {
            self.cluster.0.topics.give_up(self.topic);
        }
    }
}

/// Wakes when metadata changes.
#[derive(Debug)]
pub(crate) struct Watch(watch::Receiver<View>);

impl Watch {
    /// # Cancel safety
    /// Nothing is missed when the future is dropped.
    pub(crate) async fn changed(&mut self) -> Arc<Metadata> {
        if self.0.changed().await.is_err() {
            // The cluster is gone: there is nothing to wait for.
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().metadata.clone()
    }
}

/// How often a request may get a closed connection for an answer: brokers close it on a request that they cannot read, and
/// will do so each time.
const MOST_UNANSWERED: u32 = 10;

/// All addresses failed. Their kinds may differ; one that points at a wrong setting is worth more than a refusal.
fn no_broker(failures: &[Error]) -> Error {
    let telling = |error: &&Error| {
        matches!(error.kind(), ErrorKind::Authentication | ErrorKind::Tls | ErrorKind::Config | ErrorKind::Protocol)
    };
    let kind = failures.iter().find(telling).map_or(ErrorKind::Connect, Error::kind);
    let reasons: Vec<String> = failures.iter().map(Error::to_string).collect();
    Error::new(kind, format!("no broker could be reached: {}", reasons.join("; ")))
}

fn unknown_topic(topic: &str, asked: u32, code: Option<ErrorCode>, error: Option<Error>) -> Error {
    let last = match (code, &error) {
        (Some(code), _) => code.to_string(),
        (None, Some(error)) => error.to_string(),
        (None, None) => "no answer".to_owned(),
    };
    Error::new(
        ErrorKind::UnknownTopic,
        format!("topic {topic} is not known to the cluster (asked {asked} times, last: {last})"),
    )
}

/// `host:port`, with brackets around an IPv6 address.
fn join_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
