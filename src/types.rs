//! The nouns that every layer shares.

use std::{
    collections, fmt,
    hash::{BuildHasher, DefaultHasher, Hasher},
    time::Duration,
};

use crate::wire::Str;

/// The number of a broker in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

impl From<i32> for BrokerId {
    fn from(id: i32) -> Self {
        Self(id)
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record's place in its partition.
pub type Offset = i64;

/// The longest time that anything is given; `Duration::MAX` from now is no point in time.
pub(crate) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A map whose order no peer can foresee, and which a test that seeds `fastrand` sees again.
pub(crate) type HashMap<K, V> = collections::HashMap<K, V, Seeded>;
/// A set whose order no peer can foresee, and which a test that seeds `fastrand` sees again.
#[allow(dead_code)]
pub(crate) type HashSet<K> = collections::HashSet<K, Seeded>;

/// The hash of the standard library under a key of its own for every map. Its own `RandomState` takes the key from the
/// system, so that whatever walks a map walks it in another order in every run, and no simulation repeats itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Str>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a consumer group is to go on in a partition: the offset of the next record to read, and what goes with it.
///
/// An [`Offset`] alone becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// The next record to read: one after the last that was processed.
    pub offset: Offset,
    /// The leader epoch of the last record that was processed, if it is known: it tells a log that was cut off (KIP-320).
    pub leader_epoch: Option<i32>,
    /// Any text for whoever reads the offset; brokers keep up to 4,096 bytes (`offset.metadata.max.bytes` there).
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// This offset, without a leader epoch and without a text.
    pub fn new(offset: Offset) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }

    /// With the leader epoch of the last record that was processed.
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.leader_epoch = Some(epoch);
        self
    }

    /// With a text.
    pub fn metadata(mut self, text: impl Into<String>) -> Self {
        self.metadata = text.into();
        self
    }
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> Self {
        Self::new(offset)
    }
}

/// In whose name a transaction commits offsets (KIP-447). A member that names itself is refused once its group has moved
/// on, so that two members never commit for the same partition; without a member nothing tells a zombie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    pub(crate) group_id: Str,
    pub(crate) generation: i32,
    pub(crate) member_id: Str,
    pub(crate) group_instance_id: Option<Str>,
}

impl ConsumerGroupMetadata {
    /// A group, and no member of it: for partitions that were assigned by hand.
    pub fn new(group_id: impl Into<Str>) -> Self {
        Self { group_id: group_id.into(), generation: -1, member_id: Str::default(), group_instance_id: None }
    }

    /// This member of it, in this generation or member epoch.
    pub fn member(mut self, generation: i32, member_id: impl Into<Str>) -> Self {
        (self.generation, self.member_id) = (generation, member_id.into());
        self
    }

    /// Which is a static member of this name (KIP-345). Java: `group.instance.id`.
    pub fn group_instance_id(mut self, id: impl Into<Str>) -> Self {
        self.group_instance_id = Some(id.into());
        self
    }

    /// The group's id.
    pub fn group_id(&self) -> &str {
        &self.group_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which a map of a thousand keys is walked.
    fn order(seed: u64) -> Vec<u32> {
        fastrand::seed(seed);
        let map: HashMap<u32, ()> = (0..1000).map(|key| (key, ())).collect();
        map.into_keys().collect()
    }

    #[test]
    fn a_seed_fixes_the_order_of_maps() {
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8), "every map has a key of its own");
    }
}
