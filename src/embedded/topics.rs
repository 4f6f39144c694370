//! What all brokers of a cluster know together: topics, their partitions and settings, and the memory they share.
//!
//! Rules this file keeps:
//! - a topic is created and deleted in one place, whatever asked for it;
//! - locks are taken in the order topics, one log, the store, and never held across an await;
//! - the memory of all logs together is bounded: the oldest segment of the whole cluster goes first.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak},
};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{
    configs::{Refused, TopicConfig, TopicConfigs, Values},
    log::{Append, Appended, Log},
    marker::Marker,
    partition::Partition,
    producers::Producers,
};
use crate::types::HashMap;

/// All topics of the cluster.
#[derive(Debug)]
pub(super) struct Topics {
    tables: RwLock<Tables>,
    store: Store,
    segment_bytes: usize,
    /// What counts the producers of all partitions.
    producers: Arc<()>,
    brokers: i32,
    /// What the brokers' settings say about topics, by the topics' names of the settings.
    defaults: RwLock<Values>,
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
    pub(super) configs: Arc<TopicConfigs>,
}

/// What a topic is to be like.
#[derive(Debug, Clone)]
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replicas: Placement,
    pub(super) config: TopicConfig,
}

/// Which brokers hold new partitions, the preferred leader first.
#[derive(Debug, Clone)]
pub(super) enum Placement {
    /// So many each, evenly.
    Spread(i16),
    /// These for each partition.
    Assigned(Vec<Vec<i32>>),
}

impl Topics {
    pub(super) fn new(brokers: i32, retention_bytes: usize, segment_bytes: usize, defaults: Values) -> Self {
        let store = Store { retention_bytes, kept: Mutex::default() };
        // A segment is the unit of retention, so that several must fit.
        let segment_bytes = segment_bytes.min(retention_bytes / 4).max(1);
        let producers = Arc::default();
        Self { tables: RwLock::default(), store, segment_bytes, producers, brokers, defaults: RwLock::new(defaults) }
    }

    /// Creates a topic; with `dry` only says whether it could.
    pub(super) fn create(&self, new: NewTopic, dry: bool) -> Result<Uuid, ResponseError> {
        if !is_legal(&new.name) {
            return Err(ResponseError::InvalidTopicException);
        }
        let count = usize::try_from(new.partitions).map_err(|_| ResponseError::InvalidPartitions)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.by_name.contains_key(&new.name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        if tables.collides(&new.name) {
            return Err(ResponseError::InvalidTopicException);
        }
        if count == 0 || tables.partitions + count > MAX_PARTITIONS {
            return Err(ResponseError::InvalidPartitions);
        }
        let id = Uuid::from_u128(fastrand::u128(2..));
        if !dry {
            let NewTopic { name, replicas, config, .. } = new;
            let configs = Arc::new(TopicConfigs::new(config));
            let partitions = self.partitions(0..count, &replicas, &configs);
            tables.partitions += count;
            tables.insert(Topic { name, id, partitions, configs });
        }
        Ok(id)
    }

    /// Adds partitions until there are `count`; with `dry` only says whether it could.
    pub(super) fn grow(&self, name: &str, count: i32, new: Placement, dry: bool) -> Result<(), ResponseError> {
        let count = usize::try_from(count).map_err(|_| ResponseError::InvalidPartitions)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let old = tables.by_name.get(name).cloned().ok_or(ResponseError::UnknownTopicOrPartition)?;
        let added = count.saturating_sub(old.partitions.len());
        if added == 0 || tables.partitions + added > MAX_PARTITIONS {
            return Err(ResponseError::InvalidPartitions);
        }
        if !dry {
            // The first of `new` is for the first new partition.
            let more = match new {
                Placement::Spread(_) => self.partitions(old.partitions.len()..count, &new, &old.configs),
                Placement::Assigned(_) => self.partitions(0..added, &new, &old.configs),
            };
            let partitions = old.partitions.iter().cloned().chain(more).collect();
            tables.partitions += added;
            tables.insert(Topic { name: old.name.clone(), id: old.id, partitions, configs: old.configs.clone() });
        }
        Ok(())
    }

    fn partitions(
        &self,
        indexes: std::ops::Range<usize>,
        placement: &Placement,
        configs: &Arc<TopicConfigs>,
    ) -> Vec<Arc<Partition>> {
        let brokers = self.brokers.max(1);
        let replicas = |index: usize| match placement {
            Placement::Spread(factor) => {
                let first = i32::try_from(index).unwrap_or_default();
                (0..i32::from(*factor).clamp(1, brokers)).map(|next| (first + next) % brokers).collect()
            }
            Placement::Assigned(each) => each.get(index).cloned().unwrap_or_default(),
        };
        let log = || Log { producers: Producers::of(&self.producers), ..Log::new(self.segment_bytes, configs.clone()) };
        indexes.map(|index| Arc::new(Partition::new(replicas(index), log()))).collect()
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
            // A request under way may still hold the partition; it finds an empty log that takes nothing.
            let mut log = partition.log();
            self.store.freed(log.delete());
        }
        self.store.forget_segments();
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

    /// What the brokers' settings say about topics, by the topics' names of the settings.
    pub(super) fn defaults(&self) -> Values {
        self.defaults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What these settings of a topic come to.
    pub(super) fn config(&self, own: Values) -> Result<TopicConfig, Refused> {
        TopicConfig::new(own, &self.defaults())
    }

    /// Changes what the brokers' settings say about topics, for all topics.
    pub(super) fn set_defaults(&self, defaults: Values) -> Result<(), Refused> {
        // Checked as if they were a topic's own.
        TopicConfig::new(defaults.clone(), &Values::new())?;
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = defaults;
        for topic in self.all() {
            let config = self.config(topic.configs.current().own.clone())?;
            topic.configs.replace(config);
        }
        Ok(())
    }

    /// Appends to a partition and keeps the cluster's memory within its bound. Also says where the log starts.
    pub(super) fn append(
        &self,
        partition: &Arc<Partition>,
        mut append: Append,
    ) -> Result<(Appended, i64), ResponseError> {
        let mut log = partition.log();
        // Under the lock: epochs in a log never fall.
        append.leader_epoch = partition.leader_epoch();
        let appended = log.append(append)?;
        let start_offset = log.start_offset();
        if appended.cost > 0 {
            self.store.account(partition, &appended);
            drop(log);
            self.store.evict();
        }
        Ok((appended, start_offset))
    }

    /// Writes the end of a transaction into a partition.
    pub(super) fn append_marker(&self, partition: &Arc<Partition>, marker: &Marker) -> Result<(), ResponseError> {
        let mut log = partition.log();
        let appended = log.append_marker(marker, partition.leader_epoch())?;
        self.store.account(partition, &appended);
        drop(log);
        self.store.evict();
        Ok(())
    }

    /// Takes something away from a log, by one of the functions that say how much memory that freed.
    pub(super) fn take<T>(&self, partition: &Partition, take: impl FnOnce(&mut Log) -> (usize, T)) -> T {
        let mut log = partition.log();
        let (freed, result) = take(&mut log);
        self.store.freed(freed);
        result
    }

    /// Drops and compacts what is due by the topics' settings; `now` is the time of day.
    pub(super) fn handle_retention(&self, now_millis: i64) {
        for topic in self.all() {
            for partition in &topic.partitions {
                let mut log = partition.log();
                let before = log.cost();
                log.expire(now_millis);
                log.compact(now_millis);
                self.store.resized(before, log.cost());
            }
        }
        self.store.evict();
        self.store.forget_segments();
    }

    /// Gives the partitions that a broker led to other replicas in sync; `alive` are the brokers left.
    pub(super) fn broker_died(&self, broker: i32, alive: &[i32]) {
        self.all()
            .iter()
            .flat_map(|topic| &topic.partitions)
            .for_each(|partition| partition.broker_died(broker, alive));
    }

    /// Lets a broker's replicas catch up, and lead what nobody leads; `alive` has the broker too.
    pub(super) fn broker_came(&self, broker: i32, alive: &[i32]) {
        self.all()
            .iter()
            .flat_map(|topic| &topic.partitions)
            .for_each(|partition| partition.broker_came(broker, alive));
    }

    /// Bytes that all logs hold.
    pub(super) fn stored_bytes(&self) -> usize {
        self.store.kept().bytes
    }
}

impl Tables {
    fn insert(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    /// Whether a topic exists whose metrics would be called the same: there a dot is an underscore.
    fn collides(&self, name: &str) -> bool {
        let plain = |name: &str| name.replace('.', "_");
        name.contains(['.', '_']) && self.by_name.keys().any(|known| plain(known) == plain(name))
    }
}

impl Topic {
    pub(super) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Whether it is one of Kafka's own.
    pub(super) fn is_internal(&self) -> bool {
        matches!(&*self.name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
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
    /// Every segment by the order in which it was opened: its partition and base offset. Some may be gone already.
    segments: VecDeque<(Weak<Partition>, i64)>,
}

impl Store {
    /// Counts what was appended. Call it under the log's lock, so that nobody takes it away before it is counted.
    fn account(&self, partition: &Arc<Partition>, appended: &Appended) {
        let mut kept = self.kept();
        kept.bytes += appended.cost;
        if let Some(base_offset) = appended.opened {
            kept.segments.push_back((Arc::downgrade(partition), base_offset));
        }
    }

    /// A log of one size has another. Call it under the log's lock.
    fn resized(&self, before: usize, after: usize) {
        let mut kept = self.kept();
        kept.bytes = kept.bytes.saturating_add(after).saturating_sub(before);
    }

    /// Drops the oldest segments until the bound is kept. Call it without any lock.
    fn evict(&self) {
        let mut kept = self.kept();
        // The newest segment stays: it holds what was just acknowledged.
        while kept.bytes > self.retention_bytes && kept.segments.len() > 1 {
            let Some((oldest, base_offset)) = kept.segments.pop_front() else { break };
            drop(kept);
            if let Some(oldest) = oldest.upgrade() {
                let mut log = oldest.log();
                let freed = log.drop_segment(base_offset);
                self.freed(freed);
            }
            kept = self.kept();
        }
    }

    fn freed(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.bytes = kept.bytes.saturating_sub(bytes);
    }

    /// Forgets the segments that are gone, so that the list of them does not outgrow the logs.
    fn forget_segments(&self) {
        // No log is locked under the store's lock.
        let mut segments = std::mem::take(&mut self.kept().segments);
        segments.retain(|(partition, base_offset)| {
            partition.upgrade().is_some_and(|partition| partition.log().has_segment(*base_offset))
        });
        let mut kept = self.kept();
        segments.append(&mut kept.segments);
        kept.segments = segments;
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
