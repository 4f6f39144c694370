//! Which partition a record goes to: the ways of the known clients, and the program's own.
//!
//! Rules this file keeps:
//! - a key's partition depends on the key and on how many partitions there are, never on who leads them;
//! - the default costs one branch per record; only `Custom` is called through a pointer;
//! - nothing here allocates, locks or reads a clock per record.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    error::{Error, ErrorKind, Result},
    record::partitioner::{crc32, fnv1a, fnv1a_magnitude, murmur2},
    types::BrokerId,
};

use super::topic::{Leader, Topic};

mod stall;
mod sticky;
#[cfg(test)]
mod tests;

pub(super) use stall::{Stall, Stalls};
pub(crate) use sticky::Spread;
pub(super) use sticky::Sticky;

/// A program's own way to choose partitions, asked for every record that names none. See `examples/custom_partitioner.rs`.
///
/// It runs in the caller's thread, for every record: it should not block. A record that has to wait for memory is asked about again afterwards.
///
/// ```
/// use milena::producer::{Choice, Partitioner, Partitions};
///
/// /// What is marked urgent goes to partition 0, everything else to the others.
/// #[derive(Debug)]
/// struct Urgent;
///
/// impl Partitioner for Urgent {
///     fn partition(&self, partitions: Partitions<'_>, key: Option<&[u8]>, _value: Option<&[u8]>) -> Choice {
///         match key {
///             Some(b"urgent") => Choice::Partition(0),
///             Some(key) if partitions.len() > 1 => Choice::Partition(1 + key.len() as i32 % (partitions.len() - 1)),
///             _ => Choice::Any,
///         }
///     }
/// }
/// ```
pub trait Partitioner: Send + Sync + 'static {
    /// Where a record with these bytes goes. A partition that the topic does not have is an error to the caller of
    /// `enqueue`, never another partition.
    fn partition(&self, partitions: Partitions<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Choice;
}

/// What a [`Partitioner`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Wherever it suits: the partition whose turn it is, by load and rack as the producer was told (KIP-794, KIP-1123).
    Any,
    /// This one.
    Partition(i32),
}

/// How a producer chooses the partition of a record that names none. [`FromStr`] reads the names of the first column,
/// and so does the property `partitioner`; librdkafka's are among them.
///
/// | here, and `partitioner` | librdkafka's `partitioner` | Java's `partitioner.class` | Sarama |
/// |---|---|---|---|
/// | `Default`, `default` | as `murmur2_random` | none; `…internals.DefaultPartitioner` | |
/// | `Sticky`, `sticky` | | none, with `partitioner.ignore.keys`; `…UniformStickyPartitioner` | |
/// | `RoundRobin`, `round_robin` | | `…RoundRobinPartitioner` | `NewRoundRobinPartitioner` |
/// | `Random`, `random` | `random` | | `NewRandomPartitioner` |
/// | `Consistent`, `consistent` | `consistent` | | |
/// | `ConsistentRandom`, `consistent_random` | `consistent_random`, its default | | |
/// | `Murmur2`, `murmur2` | `murmur2` | | |
/// | `Murmur2Random`, `murmur2_random` | `murmur2_random` | as none | |
/// | `Fnv1a`, `fnv1a` | `fnv1a` | | |
/// | `Fnv1aRandom`, `fnv1a_random` | `fnv1a_random` | | as `NewHashPartitioner` |
/// | `SaramaHash`, `sarama_hash` | as `fnv1a_random` | | `NewHashPartitioner`, its default |
/// | `SaramaReferenceHash`, `sarama_reference_hash` | | | `NewReferenceHashPartitioner` |
/// | `Manual`, `manual` | | | `NewManualPartitioner` |
///
/// "Any" below is the partition whose turn it is, where librdkafka and Sarama draw one at random. Which partition a
/// given key has was asked of Java's, librdkafka's and Sarama's own code for 1,000 keys, and is compared in a test.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Partitioning {
    /// Java's: murmur2 of the key; any without one. An empty key is a key.
    #[default]
    Default,
    /// Any, whether there is a key or not. Java: `partitioner.ignore.keys`.
    Sticky,
    /// One after the other, partitions without a leader left out, whether there is a key or not.
    RoundRobin,
    /// Drawn anew for every record, partitions without a leader left out, whether there is a key or not. Batches stay
    /// small; `Sticky` spreads as evenly and costs less.
    Random,
    /// CRC-32 of the key; no key and the empty key both go to partition 0.
    Consistent,
    /// CRC-32 of the key; any without one, and any for the empty key. librdkafka's default.
    ConsistentRandom,
    /// murmur2 of the key; without one, where the empty key goes.
    Murmur2,
    /// murmur2 of the key; any without one. The same as `Default`.
    Murmur2Random,
    /// FNV-1a of the key; without one, where the empty key goes.
    Fnv1a,
    /// FNV-1a of the key; any without one.
    Fnv1aRandom,
    /// FNV-1a of the key; any without one. Sarama's default, the same as `Fnv1aRandom`.
    SaramaHash,
    /// FNV-1a of the key with its sign bit masked, as Java masks its hash; any without one.
    SaramaReferenceHash,
    /// Every record names its partition; one that does not is refused, where Sarama would send it to partition 0.
    Manual,
    /// The program's own.
    Custom(Arc<dyn Partitioner>),
}

/// A topic's partitions as a [`Partitioner`] sees them. They are numbered from 0 without holes.
#[derive(Debug, Clone, Copy)]
pub struct Partitions<'t>(&'t Topic);

impl Partitioning {
    /// By the part of a record that `extract` names, hashed as Java hashes keys; any where it names none. For a compound
    /// key whose first part decides, see `examples/compound_key.rs`.
    ///
    /// ```
    /// use milena::producer::Partitioning;
    ///
    /// // "customer/order": all orders of a customer share a partition.
    /// let partitioning = Partitioning::keyed_by(|key, _value| key?.split(|byte| *byte == b'/').next());
    /// ```
    pub fn keyed_by<F>(extract: F) -> Self
    where
        F: for<'r> Fn(Option<&'r [u8]>, Option<&'r [u8]>) -> Option<&'r [u8]> + Send + Sync + 'static,
    {
        Self::Custom(Arc::new(KeyedBy(extract)))
    }

    /// Where a record goes that names no partition.
    #[inline]
    pub(super) fn choose(&self, topic: &Topic, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Choice> {
        match (self, key) {
            (Self::Default, Some(key)) => Ok(Choice::Partition(topic.of_key(key))),
            (Self::Default, None) => Ok(Choice::Any),
            _ => self.choose_otherwise(topic, key, value),
        }
    }

    #[inline(never)]
    fn choose_otherwise(&self, topic: &Topic, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Choice> {
        let hashed = |hash: u32| Choice::Partition((hash as usize % topic.partitions.len().max(1)) as i32);
        let bytes = key.unwrap_or_default();
        Ok(match self {
            Self::RoundRobin => topic.pick(topic.turns.fetch_add(1, Ordering::Relaxed)),
            Self::Random => topic.pick(fastrand::usize(..)),
            Self::Consistent => hashed(crc32(bytes)),
            Self::Murmur2 => hashed(murmur2(bytes) & POSITIVE),
            Self::Fnv1a => hashed(fnv1a_magnitude(bytes)),
            Self::Manual => return Err(unnamed(topic)),
            Self::Custom(partitioner) => partitioner.partition(Partitions(topic), key, value),
            Self::Sticky => Choice::Any,
            _ if key.is_none() => Choice::Any,
            Self::ConsistentRandom if bytes.is_empty() => Choice::Any,
            Self::ConsistentRandom => hashed(crc32(bytes)),
            Self::Fnv1aRandom | Self::SaramaHash => hashed(fnv1a_magnitude(bytes)),
            Self::SaramaReferenceHash => hashed(fnv1a(bytes) & POSITIVE),
            Self::Default | Self::Murmur2Random => hashed(murmur2(bytes) & POSITIVE),
        })
    }

    /// A record was not enqueued after all, and will be asked about again: a turn that was lost every time memory is
    /// short would leave partitions out (Java's KAFKA-9965).
    #[cold]
    pub(super) fn take_back(&self, topic: &Topic) {
        if matches!(self, Self::RoundRobin) {
            topic.turns.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Custom(_) => "custom",
            other => NAMED.iter().find(|(_, named)| named.is(other)).map_or("", |(name, _)| name),
        }
    }

    fn is(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl<P: Partitioner> From<P> for Partitioning {
    fn from(partitioner: P) -> Self {
        Self::Custom(Arc::new(partitioner))
    }
}

impl FromStr for Partitioning {
    type Err = Error;

    /// Reads the names of [`Partitioning`]'s table.
    fn from_str(name: &str) -> Result<Self> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, named)| named.clone()).ok_or_else(|| {
            let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no partitioner {name:?}; there are {}", names.join(", "));
            Error::new(ErrorKind::Config, message)
        })
    }
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'t> Partitions<'t> {
    /// The topic's name.
    pub fn topic(self) -> &'t str {
        &self.0.name
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> i32 {
        self.0.partitions.len() as i32
    }

    /// Who leads a partition; `None` while nobody does, and for a partition that is not there.
    pub fn leader(self, partition: i32) -> Option<BrokerId> {
        self.place(partition).map(|leader| leader.broker)
    }

    /// The rack of its leader, where brokers have one.
    pub fn rack(self, partition: i32) -> Option<&'t str> {
        self.place(partition)?.rack.as_deref()
    }

    /// The partitions that have a leader, by number. Empty while none has.
    pub fn available(self) -> impl ExactSizeIterator<Item = i32> + 't {
        self.0.available.iter().map(|index| *index as i32)
    }

    /// Batches of this producer that were begun for a partition and are not settled yet.
    pub fn queued_batches(self, partition: i32) -> usize {
        let index = usize::try_from(partition).ok();
        index.and_then(|index| self.0.partitions.get(index)).map_or(0, |partition| partition.queued() as usize)
    }

    /// Where Java's default would send this key.
    pub fn of_key(self, key: &[u8]) -> i32 {
        self.0.of_key(key)
    }

    fn place(self, partition: i32) -> Option<&'t Leader> {
        self.0.leaders.get(usize::try_from(partition).ok()?)?.as_ref()
    }
}

/// Hashes what `F` finds in a record.
struct KeyedBy<F>(F);

impl<F> Partitioner for KeyedBy<F>
where
    F: for<'r> Fn(Option<&'r [u8]>, Option<&'r [u8]>) -> Option<&'r [u8]> + Send + Sync + 'static,
{
    fn partition(&self, partitions: Partitions<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Choice {
        self.0(key, value).map_or(Choice::Any, |bytes| Choice::Partition(partitions.of_key(bytes)))
    }
}

fn unnamed(topic: &Topic) -> Error {
    let message = format!("a record for {} names no partition, and partitioner=manual chooses none", topic.name);
    Error::new(ErrorKind::Config, message)
}

/// Java's way to make a hash positive.
const POSITIVE: u32 = 0x7fff_ffff;

const NAMED: &[(&str, Partitioning)] = &[
    ("default", Partitioning::Default),
    ("sticky", Partitioning::Sticky),
    ("round_robin", Partitioning::RoundRobin),
    ("random", Partitioning::Random),
    ("consistent", Partitioning::Consistent),
    ("consistent_random", Partitioning::ConsistentRandom),
    ("murmur2", Partitioning::Murmur2),
    ("murmur2_random", Partitioning::Murmur2Random),
    ("fnv1a", Partitioning::Fnv1a),
    ("fnv1a_random", Partitioning::Fnv1aRandom),
    ("sarama_hash", Partitioning::SaramaHash),
    ("sarama_reference_hash", Partitioning::SaramaReferenceHash),
    ("manual", Partitioning::Manual),
];
