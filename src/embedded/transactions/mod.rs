//! The transaction coordinator: who owns a transactional id, what is open under it, and how it ends.
//!
//! Rules this module keeps:
//! - one lock for all transactional ids, taken before those of groups and logs; no answer is awaited under it;
//! - a partition that is taken into a transaction or verified is appended to under the same lock, so that no marker can
//!   come between (KIP-890);
//! - what is decided stays decided: markers for a partition whose leader is down are written when it is back;
//! - memory is bounded: the number of transactional ids, and the bytes of their names and of what they have touched.

mod state;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

pub(super) use self::state::Identity;
use self::state::{Arrival, Ending, Now, STATES, State, Transaction};
use super::{
    Shared,
    groups::{Budget, Charge},
    marker::Marker,
    timers::Timer,
};

/// All transactional ids of the cluster.
#[derive(Debug)]
pub(super) struct Transactions {
    table: Mutex<Table>,
    budget: Budget,
}

#[derive(Debug)]
struct Table {
    by_id: BTreeMap<String, Entry>,
    /// How long an end is decided before it is written.
    marker_delay: Duration,
}

#[derive(Debug)]
struct Entry {
    transaction: Transaction,
    /// Which broker coordinated it last, and how often that has changed.
    coordinator: Option<i32>,
    coordinator_epoch: i32,
    /// When markers are to be written, while something is decided.
    markers_at: Option<Instant>,
    /// For when its timer is set.
    armed: Option<Instant>,
    _charge: Charge,
}

/// What a request says is, or is to be, in a producer's transaction.
pub(super) struct Claim<'a> {
    /// The `transactional.id`.
    pub(super) id: &'a str,
    pub(super) producer: Identity,
    pub(super) partitions: Vec<(String, i32)>,
    pub(super) group: Option<String>,
}

/// A transactional id as the brokers know it, see
/// [`EmbeddedCluster::transactions`](super::EmbeddedCluster::transactions).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// The `transactional.id`.
    pub transactional_id: String,
    /// The producer id that may use it now.
    pub producer_id: i64,
    /// And in which epoch; −1 before the first producer was told.
    pub producer_epoch: i16,
    /// Kafka's name of its state, such as `Ongoing` or `CompleteCommit`.
    pub state: &'static str,
    /// The producer's `transaction.timeout.ms`.
    pub timeout: Duration,
    /// When the transaction began, in milliseconds since 1970; −1 before the first.
    pub started_millis: i64,
    /// The partitions that the open transaction has touched.
    pub partitions: Vec<(String, i32)>,
    /// The groups whose offsets it will commit.
    pub groups: Vec<String>,
}

impl Transactions {
    pub(super) fn new(marker_delay: Duration) -> Self {
        let table = Table { by_id: BTreeMap::new(), marker_delay };
        Self { table: Mutex::new(table), budget: Budget::new(MAX_BYTES) }
    }

    /// A producer arrives with a transactional id.
    ///
    /// # Errors
    /// What InitProducerId is to answer. CONCURRENT_TRANSACTIONS means that the transaction of the one before is being
    /// ended, and the newcomer is to ask again.
    pub(super) fn init(
        &self,
        shared: &Shared,
        id: &str,
        timeout: Duration,
        expected: Option<Identity>,
    ) -> Result<Identity, ResponseError> {
        if timeout > shared.settings.max_transaction_timeout || timeout.is_zero() {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let now = now(shared);
        let mut table = self.lock();
        if !table.by_id.contains_key(id) {
            let entry = self.entry(shared, id, timeout, table.by_id.len(), now)?;
            table.by_id.insert(id.to_owned(), entry);
        }
        let delay = table.marker_delay;
        let entry = table.by_id.get_mut(id).ok_or(ResponseError::CoordinatorNotAvailable)?;
        let second_version = shared.transaction_version() >= 2;
        let arrival = entry.transaction.init(timeout, expected, second_version, || shared.new_producer_id(), now);
        entry.settle(shared, id, delay, now);
        match arrival? {
            Arrival::Ready(identity) => Ok(identity),
            Arrival::Interrupted => Err(ResponseError::ConcurrentTransactions),
        }
    }

    fn entry(
        &self,
        shared: &Shared,
        id: &str,
        timeout: Duration,
        known: usize,
        now: Now,
    ) -> Result<Entry, ResponseError> {
        let charge = self.budget.take(id.len()).map_err(|_| ResponseError::PolicyViolation)?;
        if known >= MAX_IDS {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(Entry {
            transaction: Transaction::new(shared.new_producer_id(), timeout, now),
            coordinator: None,
            coordinator_epoch: 0,
            markers_at: None,
            armed: None,
            _charge: charge,
        })
    }

    /// Takes what is claimed into the transaction (`add`), or makes sure that it is in it, and then acts while the
    /// transaction cannot end.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, and TRANSACTION_ABORTABLE for what is not
    /// in it.
    pub(super) fn admit<R>(
        &self,
        shared: &Shared,
        claim: Claim<'_>,
        add: bool,
        act: impl FnOnce() -> R,
    ) -> Result<R, ResponseError> {
        let Claim { id, producer, partitions, group } = claim;
        let now = now(shared);
        let mut table = self.lock();
        let delay = table.marker_delay;
        let entry = table.by_id.get_mut(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if add {
            let charge = |bytes| self.budget.take(bytes).map_err(|_| ResponseError::PolicyViolation);
            entry.transaction.add(producer, partitions, group, charge, now)?;
            entry.settle(shared, id, delay, now);
        } else {
            entry.transaction.verify(producer, &partitions, group.as_deref())?;
        }
        Ok(act())
    }

    /// A producer ends its transaction; returns what it goes on as. `bump` is how the second version has it.
    pub(super) fn end(
        &self,
        shared: &Shared,
        id: &str,
        producer: Identity,
        commit: bool,
        bump: bool,
    ) -> Result<Identity, ResponseError> {
        let now = now(shared);
        let mut table = self.lock();
        let delay = table.marker_delay;
        let entry = table.by_id.get_mut(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let ending = if bump {
            entry.transaction.end_and_bump(producer, commit, || shared.new_producer_id(), now)?
        } else {
            entry.transaction.end(producer, commit, now)?
        };
        entry.settle(shared, id, delay, now);
        match ending {
            Ending::Decided(identity) | Ending::Repeated(identity) => Ok(identity),
        }
    }

    /// Looks at the deadlines of a transactional id: a transaction that takes too long is aborted, markers that had to
    /// wait are written, an id that is not used is forgotten.
    pub(super) fn handle_timeout(&self, shared: &Shared, id: &str, instant: Instant) {
        let now = Now { instant, ..now(shared) };
        let mut table = self.lock();
        let delay = table.marker_delay;
        let Some(entry) = table.by_id.get_mut(id) else { return };
        entry.armed = entry.armed.filter(|armed| *armed > instant);
        match entry.transaction.deadline() {
            Some(deadline) if deadline <= instant => {
                entry.transaction.interrupt(shared.transaction_version() >= 2, || shared.new_producer_id(), now);
            }
            None if entry.is_unused() && entry.forgotten_at(shared) <= instant => {
                table.by_id.remove(id);
                return;
            }
            _ => {}
        }
        entry.settle(shared, id, delay, now);
    }

    /// Takes a transactional id away from its producer, as Java's `Admin.fenceProducers` does. Returns whether there is
    /// such an id.
    pub(super) fn fence(&self, shared: &Shared, id: &str) -> bool {
        let known = self.lock().by_id.get(id).map(|entry| entry.transaction.timeout);
        let Some(timeout) = known else { return false };
        // The first may only interrupt a transaction: its epoch is over then, but in the second version its producer could
        // go on, which the next epoch prevents. While markers wait there is no next one yet.
        if self.init(shared, id, timeout, None).is_err() {
            let _ = self.init(shared, id, timeout, None);
        }
        true
    }

    /// How long ends are decided before they are written, from now on. What waits already keeps its time.
    pub(super) fn set_marker_delay(&self, delay: Duration) {
        self.lock().marker_delay = delay;
    }

    /// One transactional id.
    pub(super) fn describe(&self, id: &str) -> Option<TransactionDescription> {
        self.lock().by_id.get(id).map(|entry| entry.describe(id))
    }

    /// All transactional ids, in their order.
    pub(super) fn all(&self) -> Vec<TransactionDescription> {
        self.lock().by_id.iter().map(|(id, entry)| entry.describe(id)).collect()
    }

    /// Whether Kafka has a state of this name.
    pub(super) fn is_state(name: &str) -> bool {
        STATES.contains(&name)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Writes what is decided and may be written, and sets the timer for whatever comes next.
    fn settle(&mut self, shared: &Shared, id: &str, delay: Duration, now: Now) {
        self.follow_coordinator(shared.coordinator(id).map(|node| node.id));
        if let State::Prepared { .. } = self.transaction.state {
            let at = *self.markers_at.get_or_insert(now.instant + delay);
            if at <= now.instant {
                let done = self.write_markers(shared, now);
                self.markers_at = (!done).then_some(now.instant + MARKER_RETRY);
            }
        }
        let next = self.markers_at.or(self.transaction.deadline());
        let next = next.unwrap_or_else(|| self.forgotten_at(shared));
        if self.armed.is_none_or(|armed| next < armed) {
            self.armed = Some(next);
            shared.timers.set(next, Timer::Transaction(id.to_owned()));
        }
    }

    fn follow_coordinator(&mut self, coordinator: Option<i32>) {
        if coordinator.is_some() && coordinator != self.coordinator {
            self.coordinator_epoch += i32::from(self.coordinator.is_some());
            self.coordinator = coordinator;
        }
    }

    /// Writes the markers of a decided transaction. Returns whether none is left.
    fn write_markers(&mut self, shared: &Shared, now: Now) -> bool {
        let State::Prepared { commit, parts, .. } = &mut self.transaction.state else { return true };
        let Identity { producer_id, epoch: producer_epoch } = self.transaction.producer;
        let coordinator_epoch = self.coordinator_epoch;
        let marker = Marker { producer_id, producer_epoch, coordinator_epoch, commit: *commit, timestamp: now.millis };
        let alive: Vec<i32> = shared.alive().iter().map(|node| node.id).collect();
        parts.partitions.retain(|(topic, index)| {
            let partition = shared.topics.by_name(topic).and_then(|topic| topic.partition(*index).cloned());
            // A deleted partition needs no marker.
            let Some(partition) = partition else { return false };
            if !alive.contains(&partition.leader()) {
                return true;
            }
            if let Err(error) = shared.topics.append_marker(&partition, &marker) {
                // Somebody else has ended it there: the producer or the coordinator is newer.
                tracing::debug!(topic, index, ?error, "a marker is not written");
            }
            false
        });
        if !parts.groups.is_empty() {
            shared.groups.end_transaction(producer_id, marker.commit);
            parts.groups.clear();
        }
        let done = parts.partitions.is_empty();
        if done {
            self.transaction.complete(now);
        }
        done
    }

    /// Whether nothing is open or decided: markers may have to wait for a leader for longer than an id is remembered.
    fn is_unused(&self) -> bool {
        matches!(self.transaction.state, State::Empty | State::Complete { .. })
    }

    /// When an id that nobody uses is forgotten.
    fn forgotten_at(&self, shared: &Shared) -> Instant {
        self.transaction.updated + shared.settings.transactional_id_expiration
    }

    fn describe(&self, id: &str) -> TransactionDescription {
        let transaction = &self.transaction;
        let parts = transaction.parts();
        TransactionDescription {
            transactional_id: id.to_owned(),
            producer_id: transaction.producer.producer_id,
            producer_epoch: transaction.producer.epoch,
            state: transaction.name(),
            timeout: transaction.timeout,
            started_millis: transaction.started_millis(),
            partitions: parts.map(|parts| parts.partitions.iter().cloned().collect()).unwrap_or_default(),
            groups: parts.map(|parts| parts.groups.iter().cloned().collect()).unwrap_or_default(),
        }
    }
}

fn now(shared: &Shared) -> Now {
    Now { instant: Instant::now(), millis: shared.clock.now_millis() }
}

/// More transactional ids than this are refused.
const MAX_IDS: usize = 10_000;

/// More bytes than this for the names of transactional ids and of what they have touched are refused.
const MAX_BYTES: usize = 64 << 20;

/// How soon markers are tried again that could not be written.
const MARKER_RETRY: Duration = Duration::from_millis(100);
