//! The open connections of one client: one per broker and class of traffic.
//!
//! Rules this file keeps:
//! - a long poll never stands in front of a heartbeat or a produce request: each class has its own connection (N10);
//! - callers that want the same connection wait for one dial; a caller that goes away does not stop it;
//! - after a failed dial nobody dials that broker again until its own backoff is over (N7);
//! - a broker that moved to another address gets a new connection (N11).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    error::{Error, ErrorKind, Result},
    types::{BrokerId, HashMap},
    watch,
    wire::Features,
};

use super::{
    NetConfig,
    buffers::Buffers,
    conn::{Connection, Peer},
    handshake,
};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Traffic {
    Produce,
    /// Of the consumer with this number: a long poll of one must not hold back the fetches of another.
    Fetch(u64),
    /// Of the group member with this number: while a JoinGroup of one waits for the others, the broker reads no
    /// heartbeat behind it.
    #[expect(dead_code, reason = "groups are an issue of their own")]
    Group(u64),
    /// What users ask in words of their own, which may be a long poll.
    Request,
    Other,
}

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Broker(BrokerId),
    /// An address from the configuration, whose broker's number is not known.
    Bootstrap(Arc<str>),
}

/// All connections of one client. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: NetConfig,
    client_id: Arc<str>,
    backoff: Backoff,
    buffers: Buffers,
    /// Of the newest epoch that any broker told.
    features: Mutex<Features>,
    slots: Mutex<Slots>,
}

type Slots = HashMap<(Destination, Traffic), Slot>;

#[derive(Debug)]
struct Slot {
    address: Arc<str>,
    /// Dials that failed in a row.
    failures: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Dialing(watch::Receiver<Option<Result<Connection>>>),
    Open(Connection),
    BackingOff { until: Instant, error: Error },
}

impl Pool {
    pub(crate) fn new(config: NetConfig, client_id: &str, backoff: Backoff) -> Self {
        let (slots, features) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared {
            config,
            client_id: client_id.into(),
            backoff,
            buffers: Buffers::new(),
            features,
            slots,
        }))
    }

    /// The features of the newest epoch that any broker told.
    pub(crate) fn features(&self) -> Features {
        self.newest_features().clone()
    }

    /// Takes in what a broker told of the cluster's features; an older epoch is stale news.
    pub(crate) fn renew_features(&self, seen: &Features) {
        if self.newest_features().renew(seen) {
            tracing::debug!(epoch = seen.epoch(), "the cluster's features changed");
        }
    }

    /// The connection to `destination`, which listens at `address`; dials if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a dial running for the next caller.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
        address: &str,
        traffic: Traffic,
    ) -> Result<Connection> {
        let mut dialed = match self.look_up(destination, address, traffic)? {
            Found::Open(connection) => return Ok(connection),
            Found::Dialing(dialed) => dialed,
        };
        let outcome = dialed.wait_for(Option::is_some).await;
        match outcome.ok().and_then(|outcome| outcome.clone()) {
            Some(outcome) => outcome,
            None => Err(Error::new(ErrorKind::Closed, format!("the dial to {address} was abandoned"))),
        }
    }

    /// The connection to `destination` if it is open now.
    pub(crate) fn open(&self, destination: &Destination, traffic: Traffic) -> Option<Connection> {
        match &self.slots().get(&(destination.clone(), traffic))?.state {
            State::Open(connection) if !connection.is_closed() => Some(connection.clone()),
            _ => None,
        }
    }

    /// When the next dial to `destination` may begin, if the last one failed and its backoff is not over.
    pub(crate) fn dials_again_at(&self, destination: &Destination, traffic: Traffic) -> Option<Instant> {
        match self.slots().get(&(destination.clone(), traffic))?.state {
            // One that is over says nothing: whoever waited for it would not wait at all.
            State::BackingOff { until, .. } => Some(until).filter(|until| *until > Instant::now()),
            _ => None,
        }
    }

    /// Somebody has heard that `destination` is there again: it may be dialled at once, but if that fails too the backoff
    /// goes on where it was.
    pub(crate) fn forgive(&self, destination: &Destination) {
        let now = Instant::now();
        for ((to, _), slot) in self.slots().iter_mut() {
            if let State::BackingOff { until, .. } = &mut slot.state
                && to == destination
            {
                *until = now;
            }
        }
    }

    /// Lets go of all connections; each closes with its last reply. What comes next is dialled anew.
    pub(crate) fn forget_all(&self) {
        self.slots().clear();
    }

    /// Lets go of a class of traffic that will not come again; its connections close with their last reply.
    pub(crate) fn forget(&self, traffic: Traffic) {
        self.slots().retain(|(_, of), _| *of != traffic);
    }

    fn look_up(&self, destination: &Destination, address: &str, traffic: Traffic) -> Result<Found> {
        let key = (destination.clone(), traffic);
        let mut slots = self.slots();
        let failures = match slots.get(&key) {
            Some(slot) if *slot.address == *address => match &slot.state {
                State::Open(connection) if !connection.is_closed() => return Ok(Found::Open(connection.clone())),
                // A dial whose runtime has ended will never say how it went.
                State::Dialing(dialed) if dialed.has_changed().is_ok() => return Ok(Found::Dialing(dialed.clone())),
                State::BackingOff { until, error } if Instant::now() < *until => return Err(error.clone()),
                _ => slot.failures,
            },
            _ => 0,
        };
        let address: Arc<str> = address.into();
        if matches!(destination, Destination::Broker(_))
            && let Some(connection) = adopt(&mut slots, &address, traffic)
        {
            let state = State::Open(connection.clone());
            slots.insert(key, Slot { address, failures, state });
            return Ok(Found::Open(connection));
        }
        let (done, dialed) = watch::channel(None);
        slots.insert(key.clone(), Slot { address: address.clone(), failures, state: State::Dialing(dialed.clone()) });
        tokio::spawn(self.clone().dial(key, address, done));
        Ok(Found::Dialing(dialed))
    }

    async fn dial(
        self,
        key: (Destination, Traffic),
        address: Arc<str>,
        done: watch::Sender<Option<Result<Connection>>>,
    ) {
        let outcome = self.establish(&address).await;
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&key).filter(|slot| slot.address == address) {
            match &outcome {
                Ok(connection) => {
                    slot.failures = 0;
                    slot.state = State::Open(connection.clone());
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "dial failed");
                    slot.failures = slot.failures.saturating_add(1);
                    let until = Instant::now() + self.0.backoff.delay(slot.failures, fastrand::f64());
                    slot.state = State::BackingOff { until, error: error.clone() };
                }
            }
        }
        drop(slots);
        done.send_replace(Some(outcome));
    }

    async fn establish(&self, address: &Arc<str>) -> Result<Connection> {
        let ready = handshake::connect(address, &self.0.config, &self.0.client_id).await?;
        self.renew_features(ready.versions.features());
        let peer = Peer {
            address: address.clone(),
            versions: Arc::new(ready.versions),
            client_id: self.0.client_id.clone(),
            is_authenticated: self.0.config.security.protocol().starts_with("SASL"),
        };
        Ok(Connection::open(ready.stream, peer, self.0.buffers.clone(), self.0.config.max_frame))
    }

    fn newest_features(&self) -> MutexGuard<'_, Features> {
        self.0.features.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that asked for the brokers, if it was to the address of one of them: it becomes that broker's, and the
/// first request waits for no second dial.
fn adopt(slots: &mut Slots, address: &str, traffic: Traffic) -> Option<Connection> {
    let is_open = |slot: &Slot| matches!(&slot.state, State::Open(connection) if !connection.is_closed());
    let is_it = |(to, of): &(Destination, Traffic), slot: &Slot| {
        matches!(to, Destination::Bootstrap(_)) && *of == traffic && *slot.address == *address && is_open(slot)
    };
    let key = slots.iter().find(|(key, slot)| is_it(key, slot)).map(|(key, _)| key.clone())?;
    match slots.remove(&key)?.state {
        State::Open(connection) => Some(connection),
        State::Dialing(_) | State::BackingOff { .. } => None,
    }
}

enum Found {
    Open(Connection),
    Dialing(watch::Receiver<Option<Result<Connection>>>),
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::net::TcpListener;

    use super::*;
    use crate::security::Security;

    /// An address that hangs up on everybody, and how many came.
    async fn rude() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number").to_string();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::AcqRel);
            }
        });
        (address, came)
    }

    #[tokio::test]
    async fn n7_callers_share_a_dial_and_nobody_dials_before_its_backoff_is_over() {
        let (address, came) = rude().await;
        let config = NetConfig {
            connect_timeout: Duration::from_secs(10),
            max_frame: 1 << 20,
            security: Security::plaintext(),
            network: crate::net::Network::Sockets,
        };
        let hour = Duration::from_secs(3600);
        let pool = Pool::new(config, "test", Backoff::new(hour, hour));
        assert_eq!(came.load(Ordering::Acquire), 0, "nobody is dialled before somebody wants to talk");
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let (pool, address) = (pool.clone(), address.clone());
                tokio::spawn(
                    async move { pool.connect(&Destination::Broker(BrokerId(1)), &address, Traffic::Other).await },
                )
            })
            .collect();
        for caller in callers {
            assert!(caller.await.expect("no panic").is_err());
        }
        // A broker that hangs up may be too old for ApiVersions of today, and is asked once more (N1).
        let dials = came.load(Ordering::Acquire);
        assert!((1..=2).contains(&dials), "{dials} dials for fifty callers");
        for _ in 0..10 {
            assert!(pool.connect(&Destination::Broker(BrokerId(1)), &address, Traffic::Other).await.is_err());
        }
        assert_eq!(came.load(Ordering::Acquire), dials, "the backoff is not over");
    }

    /// A client may outlive the runtime in which it began to dial.
    #[test]
    fn a_dial_that_was_abandoned_is_begun_again() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("its number").to_string();
        let connect_timeout = Duration::from_millis(200);
        let config = NetConfig {
            connect_timeout,
            max_frame: 1000,
            security: Security::default(),
            network: crate::net::Network::Sockets,
        };
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        let pool = Pool::new(config, "test", backoff);
        let destination = Destination::Broker(BrokerId(1));
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime().block_on(async {
            let dialing = pool.connect(&destination, &address, Traffic::Other);
            assert!(tokio::time::timeout(Duration::from_millis(10), dialing).await.is_err(), "nobody answers");
        });
        let error = runtime().block_on(pool.connect(&destination, &address, Traffic::Other)).expect_err("nor now");
        assert_ne!(error.kind(), ErrorKind::Closed, "the old dial was waited for: {error}");
    }
}
