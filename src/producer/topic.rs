//! A topic's partitions, and which of them a record goes to.
//!
//! Rules this file keeps:
//! - a partition that the caller named is taken or refused, never replaced;
//! - a key decides by Java's murmur2 over all partitions, whether they have a leader or not, so that it never moves;
//! - without a key, partitions that have a leader take turns; a turn lasts for a batch's worth of bytes, however they
//!   are cut into batches (KIP-794).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    error::{Error, ErrorKind, Result},
    record::partitioner,
    wire::Str,
};

use super::accumulator::Partition;

/// A topic as producers see it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Str,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// The partitions that have a leader; records without a key go there.
    pub(super) available: Vec<usize>,
    pub(super) sticky: Sticky,
}

impl Topic {
    pub(super) fn new(name: Str, partitions: Vec<Arc<Partition>>, available: Vec<usize>) -> Self {
        let sticky = Sticky::default();
        sticky.start(&available, partitions.len());
        Self { name, partitions, available, sticky }
    }

    pub(super) fn of_key(&self, key: &[u8]) -> i32 {
        partitioner::partition_for_key(key, self.partitions.len() as i32)
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

/// Whose turn it is among a topic's partitions, and how many bytes went there this turn. Uniform over partitions that
/// have a leader; a turn lasts for a batch's worth of bytes, however they are cut into batches (KIP-794).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    partition: AtomicU64,
    bytes: AtomicU64,
}

impl Sticky {
    fn start(&self, available: &[usize], partitions: usize) {
        self.partition.store(draw(available, partitions, None) as u64, Ordering::Relaxed);
    }

    pub(super) fn current<'t>(&self, topic: &'t Topic, batch_size: usize) -> &'t Arc<Partition> {
        if self.bytes.load(Ordering::Relaxed) >= batch_size as u64 {
            self.move_on(topic);
        }
        let index = self.partition.load(Ordering::Relaxed) as usize;
        // The index is always drawn below the number of partitions, of which there is at least one.
        &topic.partitions[index.min(topic.partitions.len() - 1)]
    }

    pub(super) fn count(&self, bytes: usize) {
        // Two callers may lose a count to each other: the turn then lasts a record longer.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn move_on(&self, topic: &Topic) {
        let before = self.partition.load(Ordering::Relaxed) as usize;
        let next = draw(&topic.available, topic.partitions.len(), Some(before));
        self.partition.store(next as u64, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// A random partition, another one than `but` if there is another.
fn draw(available: &[usize], partitions: usize, but: Option<usize>) -> usize {
    if available.is_empty() {
        return fastrand::usize(..partitions.max(1));
    }
    let place = but.and_then(|but| available.iter().position(|index| *index == but));
    let drawn = match place {
        Some(place) if available.len() > 1 => (place + fastrand::usize(1..available.len())) % available.len(),
        Some(place) => place,
        None => fastrand::usize(..available.len()),
    };
    available[drawn]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: usize, available: Vec<usize>) -> Topic {
        let partition = |index: usize| Arc::new(Partition::new("t".into(), index as i32, index));
        Topic::new("t".into(), (0..partitions).map(partition).collect(), available)
    }

    /// So many turns of 1,000 bytes in records of 100: how many records each partition got.
    fn turns(topic: &Topic, turns: usize) -> Vec<usize> {
        let mut counts = vec![0; topic.partitions.len()];
        for _ in 0..turns * 10 {
            counts[topic.sticky.current(topic, 1_000).number] += 1;
            topic.sticky.count(100);
        }
        counts
    }

    #[test]
    fn kip_794_turns_are_uniform_over_partitions_with_a_leader() {
        let counts = turns(&topic(6, vec![0, 1, 2, 3, 5]), 10_000);
        assert_eq!(counts[4], 0, "nobody leads it");
        let even = |count: usize| (18_000..22_000).contains(&count);
        assert!([0, 1, 2, 3, 5].iter().all(|index| even(counts[*index])), "{counts:?}");
    }

    #[test]
    fn kip_794_a_turn_lasts_for_a_batch_of_bytes() {
        let topic = topic(3, vec![0, 1, 2]);
        let places: Vec<usize> = (0..40)
            .map(|_| {
                let number = topic.sticky.current(&topic, 1_000).number;
                topic.sticky.count(100);
                number
            })
            .collect();
        for turn in places.chunks(10) {
            assert!(turn.iter().all(|place| *place == turn[0]), "{places:?}");
        }
        assert!(places.chunks(10).map(|turn| turn[0]).collect::<Vec<_>>().windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn without_any_leader_records_still_have_a_place() {
        assert_eq!(turns(&topic(2, Vec::new()), 100).iter().sum::<usize>(), 1_000);
        assert_eq!(turns(&topic(1, vec![0]), 10), [100]);
    }

    #[test]
    fn a_partition_that_is_not_there_is_refused_by_name() {
        let topic = topic(6, vec![0]);
        assert_eq!(topic.partition(5).map(|partition| partition.index).ok(), Some(5));
        for index in [-1, 6, i32::MAX] {
            let error = topic.partition(index).expect_err("there are six");
            assert!(error.to_string().contains(&index.to_string()), "{error}");
        }
    }

    #[test]
    fn a_key_goes_where_java_sends_it() {
        // kafka-clients: (murmur2(key) & 0x7fffffff) % 12.
        let topic = topic(12, Vec::new());
        for (key, partition) in [("21", 0), ("foobar", 6), ("abc", 3)] {
            assert_eq!(topic.of_key(key.as_bytes()), partition, "{key}");
        }
    }
}
