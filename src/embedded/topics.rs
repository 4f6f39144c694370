//! What all brokers of a cluster know together: topics, partitions and their leaders, and the memory they share.
//!
//! Rules this file keeps:
//! - a topic is created and deleted in one place, whatever asked for it;
//! - locks are taken in the order topics, one log, the store, and never held across an await;
//! - the memory of all logs together is bounded: the oldest segment of the whole cluster goes first.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicI32, Ordering},
    },
};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{
    log::{Append, Appended, Log},
    marker::Marker,
};
use crate::types::HashMap;

/// All topics of the cluster.
#[derive(Debug)]
pub(super) struct Topics {
    tables: RwLock<Tables>,
    store: Store,
    segment_bytes: usize,
    brokers: i32,
}

#[derive(Debug, Default)]
struct Tables {
    by_name: HashMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    partitions: usize,
}

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// The topic's own `max.message.bytes`, where it was created with one.
    pub(super) max_message_bytes: Option<usize>,
}

/// A partition: who leads it, and its log.
#[derive(Debug)]
pub(super) struct Partition {
    leader: AtomicI32,
    leader_epoch: AtomicI32,
    log: Mutex<Log>,
}

/// What a topic is to be like.
#[derive(Debug, Clone)]
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) max_message_bytes: Option<usize>,
}

impl Topics {
    pub(super) fn new(brokers: i32, retention_bytes: usize, segment_bytes: usize) -> Self {
        let store = Store { retention_bytes, kept: Mutex::default() };
        // A segment is the unit of retention, so that several must fit.
        let segment_bytes = segment_bytes.min(retention_bytes / 4).max(1);
        Self { tables: RwLock::default(), store, segment_bytes, brokers }
    }

    /// Creates a topic, its leaders spread over the brokers; with `dry` only says whether it could.
    pub(super) fn create(&self, new: NewTopic, dry: bool) -> Result<Uuid, ResponseError> {
        if !is_legal(&new.name) {
            return Err(ResponseError::InvalidTopicException);
        }
        let count = usize::try_from(new.partitions).map_err(|_| ResponseError::InvalidPartitions)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.by_name.contains_key(&new.name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        if count == 0 || tables.partitions + count > MAX_PARTITIONS {
            return Err(ResponseError::InvalidPartitions);
        }
        let id = Uuid::from_u128(fastrand::u128(2..));
        if !dry {
            let partitions = (0..new.partitions).map(|index| Arc::new(self.partition(index))).collect();
            let NewTopic { name, max_message_bytes, .. } = new;
            let topic = Arc::new(Topic { name: name.clone(), id, partitions, max_message_bytes });
            tables.partitions += count;
            tables.by_id.insert(id, topic.clone());
            tables.by_name.insert(name, topic);
        }
        Ok(id)
    }

    fn partition(&self, index: i32) -> Partition {
        Partition {
            leader: AtomicI32::new(index % self.brokers.max(1)),
            leader_epoch: AtomicI32::new(0),
            log: Mutex::new(Log::new(self.segment_bytes)),
        }
    }

    /// Deletes a topic with all its records, and wakes whoever reads it.
    pub(super) fn delete(&self, name: &str) -> Result<(), ResponseError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(entry) = tables.by_name.entry(name.to_owned()) else {
            return Err(ResponseError::UnknownTopicOrPartition);
        };
        let topic = entry.remove();
        tables.by_id.remove(&topic.id);
        tables.partitions -= topic.partitions.len();
        drop(tables);
        for partition in &topic.partitions {
            let mut log = partition.log();
            log.wake();
            let cost = log.cost();
            // A request under way may still hold the partition; it finds an empty log.
            *log = Log::new(self.segment_bytes);
            drop(log);
            self.store.freed(cost);
        }
        Ok(())
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub(super) fn by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.read().by_id.get(id).cloned()
    }

    /// All topics, ordered by name.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        let mut all: Vec<_> = self.read().by_name.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to a partition and keeps the cluster's memory within its bound. Also says where the log starts.
    pub(super) fn append(&self, partition: &Arc<Partition>, append: Append) -> Result<(Appended, i64), ResponseError> {
        let appended = partition.log().append(append)?;
        if appended.cost > 0 {
            self.store.account(partition, &appended);
        }
        Ok((appended, partition.log().start_offset()))
    }

    /// Writes the end of a transaction into a partition.
    pub(super) fn append_marker(&self, partition: &Arc<Partition>, marker: &Marker) -> Result<(), ResponseError> {
        let appended = partition.log().append_marker(marker, partition.leader_epoch())?;
        self.store.account(partition, &appended);
        Ok(())
    }

    /// Drops what is too old by the topics' settings; `now` is the time of day.
    pub(super) fn handle_retention(&self, _now_millis: i64) {}

    /// Bytes that all logs hold.
    pub(super) fn stored_bytes(&self) -> usize {
        self.store.kept().bytes
    }
}

impl Topic {
    pub(super) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl Partition {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leader(&self) -> i32 {
        self.leader.load(Ordering::Acquire)
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    /// Gives the partition to another broker, in a new leader epoch, and wakes whoever reads it at the old one.
    pub(super) fn move_leader(&self, broker: i32) {
        let mut log = self.log();
        self.leader_epoch.fetch_add(1, Ordering::AcqRel);
        self.leader.store(broker, Ordering::Release);
        log.wake();
    }

    /// Whether `broker` may serve a request whose sender believes in `epoch` (−1 for no belief; KIP-320).
    pub(super) fn check_leader(&self, broker: i32, epoch: i32) -> Result<(), ResponseError> {
        let current = self.leader_epoch();
        match epoch {
            _ if self.leader() != broker => Err(ResponseError::NotLeaderOrFollower),
            epoch if epoch >= 0 && epoch < current => Err(ResponseError::FencedLeaderEpoch),
            epoch if epoch > current => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

/// The memory of all logs, and the order in which segments go.
#[derive(Debug)]
struct Store {
    retention_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    /// Every segment by the order in which it was opened: its partition and base offset.
    segments: VecDeque<(Weak<Partition>, i64)>,
}

impl Store {
    fn account(&self, partition: &Arc<Partition>, appended: &Appended) {
        let mut kept = self.kept();
        kept.bytes += appended.cost;
        if let Some(base_offset) = appended.opened {
            kept.segments.push_back((Arc::downgrade(partition), base_offset));
        }
        // The newest segment stays: it holds what was just acknowledged.
        while kept.bytes > self.retention_bytes && kept.segments.len() > 1 {
            let Some((oldest, base_offset)) = kept.segments.pop_front() else { break };
            drop(kept);
            let freed = oldest.upgrade().map_or(0, |oldest| oldest.log().drop_segment(base_offset));
            kept = self.kept();
            kept.bytes = kept.bytes.saturating_sub(freed);
        }
    }

    fn freed(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.bytes = kept.bytes.saturating_sub(bytes);
        kept.segments.retain(|(partition, _)| partition.strong_count() > 0);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether Kafka allows a topic of this name.
fn is_legal(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    letters && (1..=249).contains(&name.len()) && name != "." && name != ".."
}

/// More partitions than this in a cluster are refused.
const MAX_PARTITIONS: usize = 20_000;
