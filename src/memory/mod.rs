//! A network inside this process: names and ports to listen at and to connect to, without a socket, with the faults of
//! a real one.
//!
//! ```text
//!   mod     who listens where, what is wrong with the way there       link   the bytes of one connection
//! ```
//!
//! Rules this module keeps:
//! - nothing here knows Kafka;
//! - a port without a listener refuses, as a port of a machine does; a listener that is dropped frees its port;
//! - bytes arrive in their order or not at all: a connection that lost some delivers nothing more in that direction;
//! - time is tokio's, and chance is `fastrand`'s: with a paused clock and a seed every run is the same run.

use std::{
    collections::{BTreeMap, btree_map},
    io,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::types::FOREVER;

mod link;
#[cfg(test)]
mod tests;

pub(crate) use link::MemoryStream;
use link::{Link, Side};

/// A network of in-process streams, to be shared by an embedded cluster and its clients. Clones are the same network.
///
/// With it a whole cluster and its clients run in one thread, on tokio's paused clock if a test wants, and what is wrong
/// with the way between them is the test's to say. Addresses are those of [`EmbeddedCluster::bootstrap`]: `broker-0:9092`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> milena::Result<()> {
/// use std::time::Duration;
/// use milena::{Kafka, Record, embedded::{EmbeddedCluster, MemoryNetwork, Way}};
///
/// let network = MemoryNetwork::new().latency(Duration::from_millis(1)..=Duration::from_millis(20));
/// let cluster = EmbeddedCluster::builder().memory(&network).topic("orders", 1).start().await?;
/// let kafka = Kafka::builder().memory_network(&network).bootstrap(&cluster.bootstrap()).connect().await?;
/// let producer = kafka.producer().build().await?;
///
/// network.cut("broker-0:9092");                       // every connection breaks
/// network.stall("broker-0:9092", Way::Both);          // new ones open, and no byte comes through
/// let delivery = producer.enqueue(Record::to("orders").value("created")).await;
/// network.heal();
/// # let _ = delivery;
/// # Ok(())
/// # }
/// ```
///
/// [`EmbeddedCluster::bootstrap`]: crate::embedded::EmbeddedCluster::bootstrap
#[derive(Debug, Clone)]
pub struct MemoryNetwork(Arc<Mutex<State>>);

/// Which bytes of a connection a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    FromBroker,
    /// All of them.
    Both,
}

#[derive(Debug)]
struct State {
    listeners: BTreeMap<String, mpsc::Sender<MemoryStream>>,
    links: BTreeMap<u64, Link>,
    next: u64,
    random: fastrand::Rng,
    latency: (Duration, Duration),
    bandwidth: Option<u64>,
    weather: BTreeMap<String, Weather>,
    /// Who waits for a connection to be possible.
    waiting: Vec<Waker>,
    start: Instant,
    start_millis: Option<i64>,
}

/// What is wrong with the way to one address.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    refuses: bool,
    stalled: [bool; 2],
    black: [bool; 2],
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryNetwork {
    /// A network where nobody listens yet, without delay and without faults.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            listeners: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 0,
            random: fastrand::Rng::with_seed(fastrand::u64(..)),
            latency: (Duration::ZERO, Duration::ZERO),
            bandwidth: None,
            weather: BTreeMap::new(),
            waiting: Vec::new(),
            start: Instant::now(),
            start_millis: None,
        })))
    }

    /// How long bytes are under way in either direction: each write draws its own delay, and none overtakes another.
    /// Default: no time at all.
    pub fn latency(self, range: RangeInclusive<Duration>) -> Self {
        let (least, most) = (range.start().min(&FOREVER), range.end().min(&FOREVER));
        self.state().latency = (*least, *most.max(least));
        self
    }

    /// Bytes per second and direction of a connection. Default: no limit.
    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        self.state().bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// The time of day at this moment, in milliseconds since 1970; from here on it passes as tokio's clock does, for
    /// clients and for clusters in this network that are told no other. Default: the system's.
    pub fn start_time_millis(self, millis: i64) -> Self {
        let mut state = self.state();
        (state.start, state.start_millis) = (Instant::now(), Some(millis));
        drop(state);
        self
    }

    /// Breaks all open connections to an address. Both ends see it at once; what was under way is lost. New connections
    /// can be made.
    pub fn cut(&self, address: &str) {
        self.state().each_link(address, Link::reset);
    }

    /// Breaks each open connection to an address once so many more bytes have gone that way: they still arrive. `Both`
    /// counts each way for itself.
    pub fn cut_after(&self, address: &str, way: Way, bytes: usize) {
        self.state().each_link(address, |link| way.sides().for_each(|side| link.reset_after(side, bytes)));
    }

    /// The brokers' ends of all open connections to an address break; the clients' ends stay open and never hear of
    /// anything again, as behind a firewall that forgot them.
    pub fn abandon(&self, address: &str) {
        self.state().each_link(address, Link::abandon);
    }

    /// From now on nobody can connect there; open connections stay.
    pub fn refuse(&self, address: &str) {
        let mut state = self.state();
        state.weather(address).refuses = true;
        // Who waits behind a stall is refused too.
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// From now on bytes that way wait, on open connections and on new ones. They arrive after [`heal`](Self::heal).
    pub fn stall(&self, address: &str, way: Way) {
        let mut state = self.state();
        way.sides().for_each(|side| state.weather(address).stalled[side as usize] = true);
    }

    /// From now on bytes that way vanish, on open connections and on new ones. A connection that lost some stays as deaf
    /// after [`heal`](Self::heal).
    pub fn swallow(&self, address: &str, way: Way) {
        let mut state = self.state();
        way.sides().for_each(|side| state.weather(address).black[side as usize] = true);
    }

    /// Ends what [`refuse`](Self::refuse), [`stall`](Self::stall) and [`swallow`](Self::swallow) began, everywhere.
    pub fn heal(&self) {
        let mut state = self.state();
        state.weather.clear();
        state.waiting.drain(..).for_each(Waker::wake);
        state.links.values_mut().for_each(Link::wake);
    }

    /// How many connections are open on the client's side.
    pub fn open_connections(&self) -> usize {
        self.state().links.values().filter(|link| link.has_client()).count()
    }

    /// Listens at an address.
    ///
    /// # Errors
    /// `AddrInUse` if somebody does already.
    pub(crate) fn listen(&self, host: &str, port: u16) -> io::Result<MemoryListener> {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        match self.state().listeners.entry(format!("{host}:{port}")) {
            btree_map::Entry::Occupied(held) if !held.get().is_closed() => Err(io::ErrorKind::AddrInUse.into()),
            btree_map::Entry::Occupied(mut free) => {
                free.insert(sender);
                Ok(MemoryListener { incoming })
            }
            btree_map::Entry::Vacant(free) => {
                free.insert(sender);
                Ok(MemoryListener { incoming })
            }
        }
    }

    /// Connects to whoever listens there.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody does, or if too many wait there already.
    ///
    /// # Cancel safety
    /// Dropping the future connects nobody.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<MemoryStream> {
        let address = format!("{host}:{port}");
        let delay = self.state().delay();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        std::future::poll_fn(|cx| self.state().poll_open(&address, cx)).await;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (listener, near, far) = {
            let mut state = self.state();
            if state.weather.get(&address).is_some_and(|weather| weather.refuses) {
                return Err(refused());
            }
            let listener = state.listeners.get(&address).cloned().ok_or_else(refused)?;
            let number = state.next;
            state.next += 1;
            state.links.insert(number, Link::new(address));
            (listener, MemoryStream::new(self, number, Side::Client), MemoryStream::new(self, number, Side::Broker))
        };
        listener.try_send(far).map_err(|_| refused())?;
        Ok(near)
    }

    /// When the network's time of day began and what it was then; `None` for the system's.
    pub(crate) fn epoch(&self) -> Option<(Instant, i64)> {
        let state = self.state();
        state.start_millis.map(|millis| (state.start, millis))
    }

    /// The network's time of day in milliseconds since 1970; `None` for the system's.
    pub(crate) fn now_millis(&self) -> Option<i64> {
        let (start, millis) = self.epoch()?;
        Some(millis.saturating_add(start.elapsed().as_millis() as i64))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn weather(&mut self, address: &str) -> &mut Weather {
        self.weather.entry(address.to_owned()).or_default()
    }

    fn each_link(&mut self, address: &str, fault: impl FnMut(&mut Link)) {
        self.links.values_mut().filter(|link| link.address == address).for_each(fault);
    }

    fn delay(&mut self) -> Duration {
        let (least, most) = self.latency;
        least + (most - least).mul_f64(self.random.f64())
    }

    /// Where bytes do not come through, no connection comes about either.
    fn poll_open(&mut self, address: &str, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let closed =
            |weather: &Weather| !weather.refuses && (weather.stalled.contains(&true) || weather.black.contains(&true));
        if self.weather.get(address).is_some_and(closed) {
            if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                self.waiting.push(cx.waker().clone());
            }
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    }
}

impl Way {
    /// The ends that write what goes that way.
    fn sides(self) -> impl Iterator<Item = Side> {
        let sides: &[Side] = match self {
            Self::ToBroker => &[Side::Client],
            Self::FromBroker => &[Side::Broker],
            Self::Both => &[Side::Client, Side::Broker],
        };
        sides.iter().copied()
    }
}

/// Takes the connections of one address. Dropping it frees the address.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    incoming: mpsc::Receiver<MemoryStream>,
}

impl MemoryListener {
    /// The next connection.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub(crate) async fn accept(&mut self) -> io::Result<MemoryStream> {
        // The network holds the other end for as long as this listener lives.
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Connections that wait to be accepted at one address.
const BACKLOG: usize = 1024;
