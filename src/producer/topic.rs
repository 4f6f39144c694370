//! A topic's partitions, and who leads them.
//!
//! Rules this file keeps:
//! - a partition that the caller named is taken or refused, never replaced;
//! - a key decides by Java's murmur2 over all partitions, whether they have a leader or not, so that it never moves;
//! - without a key, partitions that have a leader take turns (`partitioner/sticky.rs`).

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind, Result},
    machine::metadata::{Metadata, Topic as TopicMetadata},
    record::partitioner,
    types::BrokerId,
    wire::Str,
};

use super::{
    partition::Partition,
    partitioner::{Choice, Spread, Stall, Stalls, Sticky},
};

/// A topic as producers see it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Str,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Who leads each of them.
    pub(super) leaders: Vec<Option<Leader>>,
    /// The partitions that have a leader, in order; records without a key go there.
    pub(super) available: Vec<usize>,
    /// Those of them that are led from the client's own rack, if that counts (KIP-1123).
    pub(super) near: Vec<usize>,
    pub(super) spread: Arc<Spread>,
    pub(super) sticky: Sticky,
    /// How often `RoundRobin` has chosen.
    pub(super) turns: AtomicUsize,
    /// When it was looked up.
    pub(super) since: Instant,
}

/// A broker that leads a partition.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) broker: BrokerId,
    pub(super) rack: Option<Str>,
    pub(super) stall: Arc<Stall>,
}

impl Topic {
    /// `before` is what was known of it; its turns go on.
    pub(super) fn new(
        name: Str,
        partitions: Vec<Arc<Partition>>,
        leaders: Vec<Option<Leader>>,
        spread: &Arc<Spread>,
        before: Option<&Topic>,
    ) -> Self {
        let places = |wanted: &dyn Fn(&Leader) -> bool| {
            let led = leaders.iter().enumerate().filter(|(_, leader)| leader.as_ref().is_some_and(wanted));
            led.map(|(index, _)| index).collect()
        };
        let available = places(&|_| true);
        let near = places(&|leader| spread.rack.is_some() && leader.rack == spread.rack);
        let turns = before.map_or(0, |before| before.turns.load(std::sync::atomic::Ordering::Relaxed));
        let (spread, sticky, turns) = (spread.clone(), Sticky::default(), AtomicUsize::new(turns));
        let since = before.map_or_else(Instant::now, |before| before.since);
        let topic = Self { name, partitions, leaders, available, near, spread, sticky, turns, since };
        topic.sticky.start(&topic, before.map(|before| &before.sticky));
        topic
    }

    /// Whether this is what the brokers say now.
    pub(super) fn is_up_to_date(&self, described: &TopicMetadata, metadata: &Metadata) -> bool {
        self.leaders.len() == described.partitions.len()
            && self.leaders.iter().zip(&described.partitions).all(|(known, described)| {
                let known = known.as_ref().map(|leader| (leader.broker, leader.rack.as_ref()));
                known == described.leader.map(|broker| (broker, metadata.rack(broker)))
            })
    }

    pub(super) fn of_key(&self, key: &[u8]) -> i32 {
        partitioner::partition_for_key(key, self.partitions.len() as i32)
    }

    /// The partition of this number, counted around and around those that have a leader, or all if none has.
    pub(super) fn pick(&self, number: usize) -> Choice {
        let index = match self.available.len() {
            0 => number % self.partitions.len().max(1),
            count => self.available[number % count],
        };
        Choice::Partition(index as i32)
    }

    /// Whether the leader of a partition has taken nothing for too long (KIP-794).
    pub(super) fn is_stalled(&self, index: usize, now: Instant) -> bool {
        let leader = self.leaders.get(index).and_then(Option::as_ref);
        leader.is_some_and(|leader| leader.stall.lasts(now) > self.spread.availability_timeout)
    }

    pub(super) fn partition(&self, index: i32) -> Result<&Arc<Partition>> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index)).ok_or_else(|| {
            let (name, count) = (&self.name, self.partitions.len());
            Error::new(
                ErrorKind::UnknownTopic,
                format!("topic {name} has {count} partitions; there is no partition {index}"),
            )
        })
    }
}

/// Who leads each partition, by what the brokers say.
pub(super) fn leaders(described: &TopicMetadata, metadata: &Metadata, stalls: &Stalls) -> Vec<Option<Leader>> {
    let leader = |broker| Leader { broker, rack: metadata.rack(broker).cloned(), stall: stalls.of(broker) };
    described.partitions.iter().map(|partition| partition.leader.map(leader)).collect()
}

#[cfg(test)]
impl Topic {
    /// Partition `n` of so many is led by broker `n % 3`, in rack `r0`, `r1` or `r2`, unless it is one of `leaderless`.
    pub(super) fn sample(partitions: usize, leaderless: &[usize], spread: Spread, before: Option<&Topic>) -> Self {
        let stalls = before.map(|before| before.leaders.clone()).unwrap_or_default();
        let made: Vec<_> = (0..3).map(|_| Arc::new(Stall::new())).collect();
        let leader = |index: usize| {
            let known = stalls.get(index).cloned().flatten();
            let (broker, rack) = (BrokerId(index as i32 % 3), Some(Str::from(format!("r{}", index % 3))));
            let stall = known.map_or_else(|| made[index % 3].clone(), |leader| leader.stall);
            (!leaderless.contains(&index)).then_some(Leader { broker, rack, stall })
        };
        let partition = |index: usize| Arc::new(Partition::new("t".into(), index as i32, index));
        let known = before.map(|before| before.partitions.clone()).unwrap_or_default();
        let all = (0..partitions).map(|index| known.get(index).cloned().unwrap_or_else(|| partition(index))).collect();
        let leaders = (0..partitions).map(leader).collect();
        Self::new("t".into(), all, leaders, &Arc::new(spread), before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_not_there_is_refused_by_name() {
        let topic = Topic::sample(6, &[], Spread::default(), None);
        assert_eq!(topic.partition(5).map(|partition| partition.index).ok(), Some(5));
        for index in [-1, 6, i32::MAX] {
            let error = topic.partition(index).expect_err("there are six");
            assert!(error.to_string().contains(&index.to_string()), "{error}");
        }
    }

    #[test]
    fn a_key_goes_where_java_sends_it() {
        // kafka-clients: (murmur2(key) & 0x7fffffff) % 12.
        let topic = Topic::sample(12, &[0, 3, 6], Spread::default(), None);
        for (key, partition) in [("21", 0), ("foobar", 6), ("abc", 3)] {
            assert_eq!(topic.of_key(key.as_bytes()), partition, "{key}");
        }
    }
}
