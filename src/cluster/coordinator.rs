//! Which broker coordinates a group, a transactional id or a share-group partition.
//!
//! Rules this file keeps:
//! - who was found is remembered per key until somebody says that it is wrong (`forget_coordinator`), or for as long as
//!   metadata is believed;
//! - callers that miss the same key make one request; one that goes away leaves the asking to the next;
//! - a coordinator that is loading or not there yet is asked for again, with backoff, until the deadline;
//! - no more than [`MOST_KEYS`] keys are remembered.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    backoff::Backoff,
    error::{Error, ErrorKind, Result},
    types::{BrokerId, HashMap},
    wire::{
        ErrorCode, Str,
        messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
    },
};

use super::{Cluster, Traffic};

/// What a coordinator is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyType {
    /// The id of a group of any kind.
    Group,
    /// A transactional id.
    Transaction,
    /// `group:topic id:partition` of a share group (KIP-932).
    Share,
}

/// The coordinators that were found.
#[derive(Debug, Default)]
pub(super) struct Coordinators(Mutex<HashMap<(KeyType, Str), Arc<Slot>>>);

/// What is known about one key.
#[derive(Debug, Default)]
struct Slot {
    found: Mutex<Option<Found>>,
    /// Held by whoever asks for this key now, so that the others wait instead of asking too. It guards no data.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    broker: BrokerId,
    at: Instant,
}

/// What bounds a lookup.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    kind: KeyType,
    key: &'a str,
    deadline: Instant,
    /// For how long an answer is believed.
    max_age: Duration,
    backoff: Backoff,
}

impl Cluster {
    /// The broker that coordinates `key`: the one that is remembered, or else asks for it until `deadline`.
    ///
    /// # Errors
    /// The last refusal, such as `Broker(COORDINATOR_NOT_AVAILABLE)`, if it does not pass in time; at once one that no
    /// waiting can mend, such as `Broker(GROUP_AUTHORIZATION_FAILED)`.
    ///
    /// # Cancel safety
    /// What was found is remembered or not; others that wait for the same key ask themselves.
    pub(crate) async fn coordinator(&self, kind: KeyType, key: &str, deadline: Instant) -> Result<BrokerId> {
        let config = &self.0.config;
        let terms = Terms { kind, key, deadline, max_age: config.metadata_max_age, backoff: config.retry_backoff };
        let slot = self.0.coordinators.slot(kind, key);
        slot.resolve(terms, || self.find_coordinator(kind, key)).await
    }

    /// Forgets who coordinates `key`, because it was not that broker (`NOT_COORDINATOR`), or that one is gone.
    pub(crate) fn forget_coordinator(&self, kind: KeyType, key: &str) {
        self.0.coordinators.forget(kind, key);
    }

    /// Asks any broker, once.
    async fn find_coordinator(&self, kind: KeyType, key: &str) -> Result<BrokerId> {
        let connection = self.any_connection(Traffic::Other).await?;
        let version = connection.versions().pick::<FindCoordinatorRequest>()?;
        let request = request(version, kind, key)?;
        let answer = connection.start_at(&request, version, self.0.config.request_timeout)?;
        let found = of_key(answer.await.map_err(|lost| lost.error)?, version, kind, key)?;
        let broker = BrokerId(found.node_id);
        // A broker that joined lately may be missing in metadata.
        self.learn_endpoint(broker, &found.host, found.port);
        Ok(broker)
    }
}

impl Coordinators {
    fn slot(&self, kind: KeyType, key: &str) -> Arc<Slot> {
        let mut slots = self.slots();
        if slots.len() >= MOST_KEYS {
            // All but those that somebody is asking for: they cost a request if they are needed again.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry((kind, Str::from(key))).or_default().clone()
    }

    fn forget(&self, kind: KeyType, key: &str) {
        if let Some(slot) = self.slots().get(&(kind, Str::from(key))) {
            *slot.found() = None;
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<(KeyType, Str), Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    async fn resolve<F>(&self, terms: Terms<'_>, ask: impl Fn() -> F) -> Result<BrokerId>
    where
        F: Future<Output = Result<BrokerId>>,
    {
        if let Some(broker) = self.remembered(terms.max_age) {
            return Ok(broker);
        }
        let Ok(_turn) = timeout_at(terms.deadline, self.asking.lock()).await else { return Err(terms.too_late(None)) };
        // Somebody else may have found it meanwhile.
        if let Some(broker) = self.remembered(terms.max_age) {
            return Ok(broker);
        }
        let (mut failures, mut last) = (0, None);
        loop {
            let error = match timeout_at(terms.deadline, ask()).await {
                Ok(Ok(broker)) => {
                    *self.found() = Some(Found { broker, at: Instant::now() });
                    return Ok(broker);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(terms.too_late(last)),
            };
            failures += 1;
            let again = Instant::now() + terms.backoff.delay(failures, fastrand::f64());
            if !error.is_retriable() || again >= terms.deadline {
                return Err(error);
            }
            last = Some(error);
            sleep_until(again).await;
        }
    }

    fn remembered(&self, max_age: Duration) -> Option<BrokerId> {
        self.found().filter(|found| found.at.elapsed() < max_age).map(|found| found.broker)
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyType {
    /// The number in FindCoordinator, and the first version that has it.
    fn on_the_wire(self) -> (i8, i16) {
        match self {
            Self::Group => (0, 0),
            Self::Transaction => (1, 1),
            Self::Share => (2, 6), // KIP-932
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Transaction => "transactional id",
            Self::Share => "share-group partition",
        })
    }
}

fn request(version: i16, kind: KeyType, key: &str) -> Result<FindCoordinatorRequest> {
    let (key_type, since) = kind.on_the_wire();
    if version < since {
        let text = format!(
            "the broker has no coordinators of a {kind}: it has FindCoordinator up to version {version}, {since} is needed"
        );
        return Err(Error::new(ErrorKind::UnsupportedVersion, text));
    }
    let request = FindCoordinatorRequest { key_type, ..FindCoordinatorRequest::default() };
    Ok(match version {
        // KIP-699
        4.. => FindCoordinatorRequest { coordinator_keys: vec![key.into()], ..request },
        _ => FindCoordinatorRequest { key: key.into(), ..request },
    })
}

/// What the response says about `key`.
fn of_key(response: FindCoordinatorResponse, version: i16, kind: KeyType, key: &str) -> Result<Coordinator> {
    let FindCoordinatorResponse { coordinators, error_code, error_message, node_id, host, port, .. } = response;
    let found = match version {
        4.. => coordinators.into_iter().find(|found| found.key == key),
        _ => Some(Coordinator { key: key.into(), node_id, host, port, error_code, error_message }),
    };
    let found = found
        .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("no answer about the coordinator of {kind} {key}")))?;
    let code = match found.error_code {
        ErrorCode::NONE if found.node_id >= 0 => return Ok(found),
        // “Nobody”, in words of its own.
        ErrorCode::NONE => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        code => code,
    };
    // Mostly the broker only repeats the name of its error.
    Err(Error::broker(code, format_args!("the coordinator of {kind} {key}")))
}

impl Terms<'_> {
    /// The time is over; with the last refusal, if there was one.
    fn too_late(&self, last: Option<Error>) -> Error {
        let Self { kind, key, .. } = self;
        let before = last.as_ref().map_or_else(|| "no answer".to_owned(), Error::to_string);
        let error = Error::new(
            ErrorKind::Timeout,
            format!("the coordinator of {kind} {key} was not told in time (last: {before})"),
        );
        match last {
            Some(last) => error.with_source(last),
            None => error,
        }
    }
}

/// Some hundred bytes each.
const MOST_KEYS: usize = 10_000;

#[cfg(test)]
mod tests;
